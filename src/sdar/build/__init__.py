"""Puts the parts of a run together from its settings: verbs, and the parts they need.

Verbs: `train`, `evaluate`, `warm_start`. Parts: `engine`, `learner`, `prompts`, `skills`, `stage`. What can
be found out from settings alone is in `checks`; it and `skills` import no torch. No other room puts a run
together.
"""
