"""The training loop: batches, steps, teachers, ranks, checkpoints. It knows no objective by name.

`settings` and `teachers` need no torch.
"""
