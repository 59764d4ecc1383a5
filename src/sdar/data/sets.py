"""What all data sets have in common when they are brought in."""

from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[int, int], None]
"""Told how much is done and how much there is (0: unknown): bytes of a download, parts of an import."""


@dataclass
class ImportReport:
    """What was brought in."""

    counts: dict[str, int] = field(default_factory=dict)
    """How many of what, such as `games in train`."""
    notes: list[str] = field(default_factory=list)
    """What else to know, a sentence each: what was left out and why, what is missing."""
