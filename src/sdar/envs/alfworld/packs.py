"""Packs: the games of a split in one file, `SPLIT.jsonl.xz`, one JSON object a line.

Keys: `id` (split/task/trial), `task_type`, `task` (the goal sentence), `pddl_problem`, `rules` (2.1.1 if
absent); for people also `pddl_params` and `annotations` (goal sentences by people).
"""

import json
import lzma
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sdar.envs.alfworld.game import GameText
from sdar.envs.alfworld.index import Entry, Index, open_index
from sdar.envs.alfworld.problem import Kind
from sdar.envs.alfworld.text import Rules
from sdar.errors import DataError

SUFFIX = ".jsonl.xz"
_PROBLEM = b', "pddl_problem": '


def open_pack(path: Path) -> Index:
    """The index of a pack.

    Raises:
        DataError: The file is damaged or not a pack.
    """
    stat = path.stat()
    return open_index(path, [stat.st_size, stat.st_mtime_ns], lambda: _scan(path))


def read_pack_line(line: bytes) -> GameText:
    """The game of one line of a pack."""
    row = json.loads(line)
    rules = Rules(row.get("rules", Rules.V2_1_1))
    return GameText(row["id"], Kind(row["task_type"]), row["task"], row["pddl_problem"], rules)


def write_pack(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a pack and return how many; `path` should be a temporary name, moved when all is well."""
    count = 0
    with lzma.open(path, "wt", encoding="utf-8", preset=6) as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
            count += 1
    return count


def _scan(path: Path) -> Iterator[tuple[Entry, bytes]]:
    number = 0
    try:
        with lzma.open(path) as lines:
            for line in lines:
                number += 1
                head, last, _ = line.partition(_PROBLEM)  # the problem is long: unread where it comes last
                row = json.loads(head + b"}" if last else line)
                yield Entry(row["id"], Kind(row["task_type"]).value, row["task"]), line
    except (lzma.LZMAError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a pack of ALFWorld games (game {number}: {error!r})") from None
