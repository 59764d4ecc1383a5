"""Mathematics: pure functions over tensors.

No setting, no state; registered by name where there is a choice.
"""
