"""Every error that sdar raises on purpose.

    SdarError
      ConfigError        a setting is unknown, impossible or missing
      DataError          data is missing, corrupt or not supported
      ContextOverflow    a prompt does not fit the model's context
      CheckpointError    a checkpoint or run directory cannot be used
      DivergedError      training goes nowhere any more
      StorageError       a disk refused to read or write a file

The command line prints the message of an `SdarError` as one line and exits with status 2.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class SdarError(Exception):
    """Root of all errors raised on purpose."""


class ConfigError(SdarError):
    """A setting is unknown, impossible or missing."""


class DataError(SdarError):
    """Data is missing, corrupt or not supported."""


class ContextOverflow(SdarError):
    """A prompt does not fit the model's context."""


class CheckpointError(SdarError):
    """A checkpoint or a run directory cannot be used."""


class DivergedError(SdarError):
    """Training goes nowhere any more: no update can be used."""


class StorageError(SdarError):
    """A disk refused to read or write a file."""


def suggest(name: str, choices: Iterable[str], remedy: str = "") -> str:
    """One sentence that names the nearest valid choice, or lists the choices; where there is none, `remedy`.

    >>> suggest("sdra", ["grpo", "sdar"])
    "did you mean 'sdar'?"
    >>> suggest("x", ["grpo", "sdar"])
    'choose from grpo, sdar'
    >>> suggest("1", [], "`sdar train` makes one")
    'none are known: `sdar train` makes one'
    """
    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    none = f"none are known: {remedy}" if remedy else "none are known"
    return "choose from " + ", ".join(known) if known else none


def some(faults: Sequence[str]) -> str:
    """The first three of a list of faults, and how many more there are.

    >>> some(["a", "b"]), some(["a", "b", "c", "d", "e"])
    ('a; b', 'a; b; c; and 2 more')
    """
    more = [f"and {len(faults) - 3} more"] if len(faults) > 3 else []
    return "; ".join([*faults[:3], *more])
