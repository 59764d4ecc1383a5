"""Plays episodes: agents, engines, collectors; then makes samples of them, with the teachers' views.

Nothing here learns. `settings` needs no torch.
"""
