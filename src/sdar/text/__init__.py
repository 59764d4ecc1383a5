"""Text as searchers read it: Lucene's analysis, and sentences as vectors. Knows no environment."""
