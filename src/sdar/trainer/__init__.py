"""The training loop and its parts; `sdar.trainer.loop` is read first."""
