"""Fixed panels, their results, and comparing them: tables, intervals, tests, curves. No torch.

Whoever plays is handed in; nothing here loads a model.
"""
