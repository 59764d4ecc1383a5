"""Records from outside, checked one at a time: a bad one is left out, counted and named; the rest is used."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sdar.errors import DataError

if TYPE_CHECKING:
    from pydantic import BaseModel

    R = TypeVar("R", bound=BaseModel)

_LOG = logging.getLogger(__name__)
_LEFT_OUT: dict[str, int] = {}
Numbered = tuple[int, Any]
"""A line's number, from 1, and its content: JSON as text, or the value itself."""


def split_lines(text: str) -> list[str]:
    r"""The lines of a JSON-lines text. Only a line feed ends one: JSON may hold U+2028 as it is.

    >>> split_lines("a\u2028b\nc\n")
    ['a\u2028b', 'c']
    """
    return [line for line in text.split("\n") if line.strip()]


def valid_records(kind: type[R], path: Path, rows: Iterable[Numbered]) -> Iterator[R]:
    """The rows of a file that are records of a kind.

    Those that are not are left out, see `leave_out`. Raises `DataError` when none is left of some.
    """
    from pydantic import ValidationError

    good = bad = 0
    first = ""
    for number, row in rows:
        try:
            record = kind.model_validate(json.loads(row) if isinstance(row, str) else row)
        except (ValidationError, ValueError, RecursionError) as error:
            first = first or f"record {number}: {_reason(error)}"
            bad += 1
            continue
        good += 1
        yield record
    if bad and not good:
        raise DataError(f"{path} holds no record that can be used; {first}")
    leave_out(path, bad, f"left out {bad} of {good + bad} records that cannot be used; {first}")


def leave_out(source: Path, count: int, why: str) -> None:
    """Note that so many records of a file or directory, maybe none, are not used: `why` goes to the log."""
    if count:
        _LOG.warning("%s: %s", source, why)
        _LEFT_OUT[str(source)] = count
    else:
        _LEFT_OUT.pop(str(source), None)


def left_out() -> dict[str, int]:
    """File or directory -> how many of its records are not used, of all that this process has read."""
    return dict(sorted(_LEFT_OUT.items()))


def _reason(error: Exception) -> str:
    """The field and what is wrong with it."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return f"not JSON: {error}"
    found = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, found["loc"]))
    return f"{field}: {found['msg']}" if field else str(found["msg"])
