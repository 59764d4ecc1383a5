"""Data sets: download and import."""
