"""Models, tokenizers, chat templates and log-probs."""
