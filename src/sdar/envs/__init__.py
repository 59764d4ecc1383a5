"""Environments: exact, deterministic, plain Python.

They know tasks and text, no model, no skill and no trainer.
"""
