"""The checkpoints that a run left behind, by their names. `sdar.trainer.checkpoint` writes and reads them."""

import json
import re
from pathlib import Path
from typing import Any

from sdar.errors import CheckpointError

_NAME = re.compile(r"step-(\d{6,})")


def step_of(path: Path) -> int:
    """The number of training steps behind a checkpoint."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise CheckpointError(f"{path} is not a checkpoint: its name must be like step-000010")
    return int(match[1])


def complete(directory: Path) -> list[Path]:
    """The complete checkpoints in a directory, oldest first."""
    return sorted((path for path in directory.glob("step-*") if _NAME.fullmatch(path.name)), key=step_of)


def latest(directory: Path) -> Path | None:
    """The newest complete checkpoint, if there is one."""
    return next(reversed(complete(directory)), None)


def read_returns(path: Path) -> dict[str, Any]:
    """What was observed of the skills before a checkpoint; empty where nothing was."""
    file = path / "state.json"
    state: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return state.get("returns", {})
