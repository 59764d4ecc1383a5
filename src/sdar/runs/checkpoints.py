"""The checkpoints that a run left behind: their names, and whether they are whole. No torch.

`sdar.trainer.checkpoint` writes and reads them.
"""

import re
from pathlib import Path
from typing import Any

from sdar.errors import CheckpointError
from sdar.runs.files import find_damage, read_json

FORMAT = 2
"""Of `state.json`: 2 added `files`, the SHA-256 of every other file. Format 1 is read too."""
DAMAGED = ".damaged"
"""Ending of a checkpoint that cannot be used and was put aside."""
_NAME = re.compile(r"step-(\d{6,})")


def step_of(path: Path) -> int:
    """The number of training steps behind a checkpoint."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise CheckpointError(f"{path} is not a checkpoint: its name must be like step-000010")
    return int(match[1])


def complete(directory: Path) -> list[Path]:
    """The complete checkpoints in a directory, oldest first."""
    found = (path for path in directory.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir())
    return sorted(found, key=step_of)


def latest(directory: Path) -> Path | None:
    """The newest complete checkpoint, if there is one."""
    return next(reversed(complete(directory)), None)


def check_whole(path: Path, share: int = 0, shares: int = 1) -> None:
    """Raise `CheckpointError` unless the files of a checkpoint are what was written.

    Of several processes each may look at its share of the files. Format 1 has nothing to compare with.
    """
    known = _state(path).get("files", {})
    if not isinstance(known, dict) or any(Path(name).is_absolute() or ".." in name for name in known):
        raise CheckpointError(f"{path / 'state.json'} is damaged: it names files that are not its own")
    if damage := find_damage(path, dict(sorted(known.items())[share::shares])):
        raise CheckpointError(f"{path} is damaged: {damage}")


def read_returns(path: Path) -> dict[str, Any]:
    """What was observed of the skills before a checkpoint; empty where nothing was."""
    returns: dict[str, Any] = _state(path).get("returns", {}) if (path / "state.json").exists() else {}
    return returns


def _state(path: Path) -> dict[str, Any]:
    """What `state.json` holds. Raises `CheckpointError` for one of a newer format, too."""
    state = read_json(path / "state.json", CheckpointError)
    found = state.get("format")
    if not isinstance(found, int):
        raise CheckpointError(f"{path / 'state.json'} is damaged: it has no format")
    if found > FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {found}; update sdar, which reads up to {FORMAT}"
        )
    return state
