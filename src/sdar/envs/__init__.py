"""Environments: exact, deterministic, plain Python."""
