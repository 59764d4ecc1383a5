"""All runs below a directory: what each is doing, what it reached, what it takes; and how one is removed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sdar.errors import CheckpointError, ConfigError
from sdar.runs.checkpoints import complete, step_of
from sdar.runs.files import storing
from sdar.runs.rundir import RunDir, read_evals, read_metrics


class State(StrEnum):
    """What a run is doing."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    """It can go on from a checkpoint."""
    EMPTY = "empty"
    """It stopped before its first checkpoint: nothing can go on or be evaluated."""


@dataclass(frozen=True, kw_only=True)
class Shelved:
    """One run, as a list shows it."""

    run: RunDir
    name: str
    """Its path below the directory of runs."""
    state: State
    step: int
    """Steps done."""
    steps: int
    """Steps asked for."""
    result: dict[str, Any] | None
    """The last evaluation of the fixed panel."""
    bytes: int
    """Of its files."""


def find_runs(out: Path) -> Iterator[Path]:
    """Run directories in and below `out`, by name; those within a run and behind links do not count."""
    for path in sorted(out.iterdir()) if out.is_dir() else ():
        if path.is_symlink() or not path.is_dir():
            continue
        if (path / "meta.json").is_file():
            yield path
        else:
            yield from find_runs(path)


def look(path: Path, out: Path) -> Shelved:
    """What there is to say of one run. Raises `CheckpointError` for one that cannot be read."""
    run = RunDir.open(path)
    metrics, evals, saved = read_metrics(run), read_evals(run), complete(run.checkpoints)
    step = int(metrics[-1]["step"]) if metrics else 0
    steps = int(run.settings.get("train", {}).get("steps", 0))
    done = bool(saved) and step_of(saved[-1]) >= steps
    if is_trained(run):
        state = State.RUNNING
    elif not saved:
        state = State.EMPTY
    else:
        state = State.FINISHED if done else State.STOPPED
    return Shelved(
        run=run,
        name=str(path.relative_to(out)) if path.is_relative_to(out) else str(path),
        state=state,
        step=step,
        steps=steps,
        result=evals[max(evals)] if evals else None,
        bytes=size_of(path),
    )


def is_trained(run: RunDir) -> bool:
    """Whether a process trains the run at this moment: it holds the lock of `RunDir.hold`."""
    try:
        lock = os.open(run.path / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def size_of(path: Path) -> int:
    """Bytes of all files below a directory; links take nothing."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def remove(run: RunDir) -> None:
    """Delete a run, for good.

    Raises `CheckpointError` unless it is a run directory that nobody trains, in its own place, with no other
    run and no repository in it.
    """
    RunDir.open(run.path)
    if run.path.is_symlink():
        raise CheckpointError(f"{run.path} is a link: remove the run where it is")
    for inner in (*run.path.rglob("meta.json"), *run.path.rglob(".git")):
        if inner != run.path / "meta.json":
            raise CheckpointError(f"{run.path} holds {inner}, which is no part of a run: move it away")
    if Path.cwd().is_relative_to(run.path.resolve()):
        raise ConfigError(f"{run.path} holds the directory you are in: leave it first")
    with run.hold(), storing(run.path):
        shutil.rmtree(run.path)
