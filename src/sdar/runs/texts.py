"""The texts that stages of a run asked for: a file that grows by lines. No torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdar.runs.files import storing
from sdar.runs.lines import read_lines
from sdar.runs.rundir import RunDir


def add_texts(run: RunDir, records: Sequence[Mapping[str, Any]]) -> None:
    """Append texts; a resumed run that comes to the same question finds them here."""
    with storing(run.texts_file), run.texts_file.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read_texts(file: Path) -> list[dict[str, Any]]:
    """The texts of a run, in the order in which they were written."""
    return read_lines(file)
