"""The official directory layout: `json_2.1.1/<split>/<task>/<trial>/{game.tw-pddl,traj_data.json,...}`.

Which games count follows the official loader: solvable, one of the six kinds, no movable receptacle and
nothing sliced.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdar.envs.alfworld.game import GameText
from sdar.envs.alfworld.index import Entry, Index, check_usable, open_index
from sdar.envs.alfworld.problem import Kind, check_whole
from sdar.envs.alfworld.text import Rules
from sdar.errors import DataError

GAME = "game.tw-pddl"
DOMAINS = {
    "2bb2c5c7591ba4452d38c74721bd09a10c9d72c9ec3f5b2fb7cd8f9b57ae6a64": Rules.V2_1_1,
    "6eca02b13b273d84ef7f20bb79d194d4e0542ba3127af5a257c0115ebb5c1930": Rules.V2_1_1,
    "da18d44ab1bcf831f61e90b88a99ad5766d8bbb562b6f87839b4b6ace4f796fe": Rules.V2_1_2,
}
"""`digest_domain` of the domains that the native engine plays. In the second, receptacles of SinkType do not
clean; no official game has one."""
GRAMMARS = {
    "8675f8a20f2b869f5b609e38575d07d1c6397208dd70e86ae4edeac5111e469b": Rules.V2_1_1,
    "49281f55d68cf8db1f80636d6247beb078daac200a340bedf133da0b161211fb": Rules.V2_1_2,
}
"""`digest_grammar` of their grammars."""

_SINK = re.compile(r"\(\s*receptacletype\s+\S+\s+sinktype\s*\)", re.IGNORECASE)
_TASK = re.compile(r'("rhs": "Your task is to: )((?:[^"\\]|\\.)*)(\.")')


def open_directory(split: Path) -> Index:
    """The index of a split in the official layout; its games are read from their own files.

    Raises:
        DataError: No game of the split can be read.
    """
    games = sorted(_game_files(split))
    stats = [(path, (split / path).stat()) for path in games]
    seen = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    stamp = hashlib.sha256(json.dumps(seen).encode()).hexdigest()
    return check_usable(split, open_index(split, stamp, lambda: _scan(split, games)))


def read_directory_game(folder: Path, id: str) -> GameText:
    """The game in a trial's folder.

    Raises:
        DataError: The file is missing, damaged, not marked as solvable, or of no release that sdar knows.
    """
    game = _load(folder / GAME)
    try:
        grammar, problem, domain = game["grammar"], game["pddl_problem"], game["pddl_domain"]
        if not game["solvable"]:
            raise DataError(f"ALFWorld game {id} is refused: it is not marked as solvable")
        rules = GRAMMARS.get(digest_grammar(grammar))
        if rules is None or DOMAINS.get(digest_domain(domain)) is not rules:
            raise DataError(f"ALFWorld game {id} is refused: its domain or grammar is of no known release")
        if _SINK.search(problem):
            raise DataError(f"ALFWorld game {id} is refused: releases disagree whether its sinks clean")
        return GameText(id, Kind(_kind(folder.parent.name)), _task(grammar), problem, rules)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"ALFWorld game {id} is refused: {error!r}") from None


def read_annotations(folder: Path) -> dict[str, Any]:
    """What `traj_data.json` adds for people: `pddl_params` and `annotations`; empty where there is none."""
    try:
        data = json.loads((folder / "traj_data.json").read_bytes())
    except FileNotFoundError:
        return {"pddl_params": {}, "annotations": []}
    sentences = [annotation["task_desc"] for annotation in data["turk_annotations"]["anns"]]
    return {"pddl_params": data["pddl_params"], "annotations": sentences}


def _game_files(split: Path) -> Iterator[str]:
    """The paths in a split of the game files that may count."""
    for folder in os.scandir(split):
        name = folder.name
        if not folder.is_dir() or "movable" in name or "Sliced" in name or _kind(name) not in list(Kind):
            continue
        for trial in os.scandir(folder):
            if (Path(trial.path) / GAME).is_file():
                yield f"{name}/{trial.name}/{GAME}"


def _scan(split: Path, games: Sequence[str]) -> Iterator[tuple[Entry, bytes] | str]:
    for path in games:
        name, trial, _ = path.split("/")
        try:
            game = _load(split / path)
            if game.get("solvable"):
                entry = Entry(f"{split.name}/{name}/{trial}", _kind(name), _task(game["grammar"]))
                check_whole(game["pddl_problem"])
                yield entry, b""
        except DataError as error:
            yield str(error)
        except (KeyError, TypeError, ValueError) as error:
            yield f"{split / path} is not an ALFWorld game: {error!r}"


def _kind(name: str) -> str:
    return name.partition("-")[0]


def _load(path: Path) -> dict[str, Any]:
    try:
        game = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the ALFWorld game {path}: {error}") from None
    if not isinstance(game, dict):
        raise DataError(f"{path} is not an ALFWorld game")
    return game


def _task(grammar: str) -> str:
    found = _TASK.search(grammar)
    if found is None:
        raise ValueError("the grammar has no goal sentence")
    return str(json.loads(f'"{found[2]}"'))


@lru_cache(maxsize=16)
def digest_domain(domain: str) -> str:
    """SHA-256 of a domain: no comments, lower case, each run of blanks as one space."""
    return _digest(re.sub(r";[^\n]*", "", domain).lower())


def digest_grammar(grammar: str) -> str:
    """SHA-256 of a grammar: `UNKNOWN GOAL` for the goal sentence, each run of blanks as one space."""
    return _digest(_TASK.sub(r"\1UNKNOWN GOAL\3", grammar))


@lru_cache(maxsize=16)
def _digest(text: str) -> str:
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
