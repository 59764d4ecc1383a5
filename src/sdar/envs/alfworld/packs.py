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
from sdar.envs.alfworld.index import Entry, Index, check_usable, open_index
from sdar.envs.alfworld.problem import Kind, check_whole
from sdar.envs.alfworld.text import Rules
from sdar.errors import DataError

SUFFIX = ".jsonl.xz"


def open_pack(path: Path) -> Index:
    """The index of a pack.

    Raises:
        DataError: The file is damaged, or no line of it is a game.
    """
    stat = path.stat()
    return check_usable(path, open_index(path, [stat.st_size, stat.st_mtime_ns], lambda: _scan(path)))


def read_pack_line(line: bytes) -> GameText:
    """The game of one line of a pack. Raises errors of JSON, look-up and type for any other line."""
    row = json.loads(line)
    rules = Rules(row.get("rules", Rules.V2_1_1))
    texts = [row[name] for name in ("id", "task", "pddl_problem")]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("id, task and pddl_problem must be texts")
    name, task, problem = texts
    return GameText(name, Kind(row["task_type"]), task, problem, rules)


def write_pack(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a pack and return how many; `path` should be a temporary name, moved when all is well."""
    count = 0
    with lzma.open(path, "wt", encoding="utf-8", preset=6) as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
            count += 1
    return count


def _scan(path: Path) -> Iterator[tuple[Entry, bytes] | str]:
    number = 0
    try:
        with lzma.open(path) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    game = read_pack_line(line)
                    check_whole(game.problem)
                    yield Entry(game.id, game.kind.value, game.task), line
                except (AttributeError, ValueError, KeyError, TypeError, RecursionError) as error:
                    yield f"game {number}: {error!r}"
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path} is not a pack of ALFWorld games (game {number + 1}: {error!r})") from None
