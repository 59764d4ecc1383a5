"""Files of JSON lines, as they grow and packed."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdar.errors import DataError
from sdar.runs.files import explain, write_atomic


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects in a file that grows by lines; one without a line end was cut short and is left out."""
    if not file.exists():
        return []
    try:
        whole = file.read_text(encoding="utf-8").rpartition("\n")[0]
    except OSError as error:
        raise DataError(explain(error, file)) from error
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}): restore it from a copy") from error
    found = []
    for number, line in enumerate(whole.split("\n") if whole else [], 1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise DataError(f"{file}, line {number}, is damaged ({error}): remove that line") from error
        if not isinstance(found[-1], dict):
            raise DataError(f"{file}, line {number}, is damaged (no object): remove that line")
    return found


def read_packed(file: Path) -> list[dict[str, Any]]:
    """The objects in a compressed file of lines."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{file} is damaged ({error}): remove it, the run can do without") from error
    except OSError as error:
        raise DataError(explain(error, file)) from error


def write_packed(file: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write objects as a compressed file of lines, the same bytes for the same objects."""
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_atomic(file, gzip.compress(text.encode(), compresslevel=5, mtime=0))
