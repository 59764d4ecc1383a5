"""Pure functions over tensors: reductions, ratios, divergences, gates."""
