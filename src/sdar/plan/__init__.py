"""What a run will need, from settings alone: memory of a rank, tokens, FLOPs, seconds. No torch."""
