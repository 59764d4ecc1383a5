"""Models and tokenizers, from files into memory and back: chat templates, attention, log-probs.

Nothing here knows what is learned. `settings` needs no torch.
"""
