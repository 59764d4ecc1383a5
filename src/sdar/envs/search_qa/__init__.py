"""Search-QA: questions answered by searching a corpus, real or generated, in the protocol of Search-R1."""
