"""What the viewer knows of one run. It reads each file once, then only what is new, and writes nothing."""

import gzip
import json
import threading
import time
import tomllib
import zlib
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from sdar.errors import DataError
from sdar.runs.rundir import RunDir, trajectory_steps
from sdar.settings.values import by_path

Record = dict[str, Any]
Stamp = tuple[int, int, int]
"""Inode, size and time of a file: another stamp, another content."""
UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
"""What a file that is gone, cut short or no JSON lines raises."""


class Index:
    """The episodes and metrics of a run that may still be going on. Threads may share it.

    `rows` is one short record for each episode, step after step: see `sdar.runs.records`, with
    its `step`, its `goal`, and its `place`, the line of its trajectory in the step's file, or None where only
    the short record was kept. `lines` are the metrics, one object a step. Both only grow, unless `generation`
    rises: then what was read before is no longer true, as after a resume from an older step.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.rows: list[Record] = []
        self.lines: list[Record] = []
        self.generation = 0
        self.waiting = 0
        """Steps whose files are still to be read."""
        self.problems: dict[str, str] = {}
        """What cannot be read -> why."""
        self._root = run.path.resolve()
        self._lock = threading.Lock()
        self._steps: dict[int, Stamp] = {}
        self._metrics: Stamp = (0, 0, 0)
        self._read_to = 0
        self._trajectories = lru_cache(4)(lambda step, stamp: _lines(self._inside(self._file(step))))

    def refresh(self, seconds: float = 0.3) -> None:
        """Read what is new, for about so long; `waiting` says how much is left for the next time."""
        end = time.monotonic() + seconds
        with self._lock:
            self._refresh_metrics()
            found = {step: _stamp(self._file(step)) for step in trajectory_steps(self.run)}
            if any(found.get(step) != stamp for step, stamp in self._steps.items()):
                self.generation += 1
                self.rows, self._steps, self.problems = [], {}, {}
            new = [step for step in found if step not in self._steps]
            self.waiting = len(new)
            for step in new:
                self._refresh_step(step)
                self._steps[step] = found[step]
                self.waiting -= 1
                if time.monotonic() > end:
                    break

    def episode(self, step: int, place: int) -> Record:
        """The trajectory in this line of a step's file. Raises `DataError` where there is none."""
        if step not in self._steps:
            raise DataError(f"{self.run.path.name} has no trajectories of step {step}")
        try:
            records: list[Record] = self._trajectories(step, self._steps[step])
        except UNREADABLE as error:
            raise DataError(f"step {step} of {self.run.path.name} cannot be read: {error}") from error
        if not 0 <= place < len(records):
            raise DataError(f"step {step} of {self.run.path.name} has {len(records)} trajectories")
        return records[place]

    def meta(self) -> Record:
        """When and with what the run was made."""
        found: Record = json.loads(self._inside(self.run.path / "meta.json").read_text(encoding="utf-8"))
        return found

    def settings(self) -> Record:
        """The run's settings, flat: `objective.name` -> value."""
        text = self._inside(self.run.config_file).read_text(encoding="utf-8")
        return dict(by_path(tomllib.loads(text)))

    def _file(self, step: int) -> Path:
        return self.run.trajectories_file(step)

    def _inside(self, file: Path) -> Path:
        """`file`, unless it is no ordinary file or a link that leads out of the run directory."""
        real = file.resolve()
        if not real.is_relative_to(self._root) or not real.is_file():
            raise DataError(f"{file.name} is not an ordinary file of {self.run.path.name}")
        return real

    def _refresh_step(self, step: int) -> None:
        try:
            file, short = self._inside(self._file(step)), self.run.episodes_file(step)
            rows = _lines(self._inside(short)) if short.exists() else list(map(_summary, _lines(file)))
            kept = gzip.decompress(file.read_bytes()).count(b"\n")
            for number, row in enumerate(rows):
                place = number if number < kept else None
                self.rows.append({"goal": "", **row, "step": step, "place": place})
        except (DataError, *UNREADABLE, KeyError, TypeError) as error:
            self.problems[f"step {step}"] = f"{type(error).__name__}: {error}"

    def _refresh_metrics(self) -> None:
        """Take in the lines that were added; all of them when the file is another one."""
        if not self.run.metrics_file.exists():
            return
        stamp = _stamp(self.run.metrics_file)
        if stamp == self._metrics:
            return
        try:
            if stamp[0] != self._metrics[0] or stamp[1] < self._read_to:
                self.generation += bool(self.lines)
                self.lines, self._read_to = [], 0
            with self._inside(self.run.metrics_file).open("rb") as file:
                file.seek(self._read_to)
                whole = file.read().rpartition(b"\n")[0]
            self.lines += [json.loads(line) for line in whole.splitlines()]
            self._read_to += len(whole) + bool(whole)
        except (DataError, *UNREADABLE) as error:
            self.problems["metrics"] = f"{type(error).__name__}: {error}"
        self._metrics = stamp


def _lines(file: Path) -> list[Record]:
    """The objects of a compressed file of JSON lines."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _summary(record: Record) -> Record:
    """What the episodes file would say of a trajectory, for runs of format 1, which have none."""
    turns = record["turns"]
    gaps = [gap for turn in turns for gap in turn.get("gap", ()) if gap is not None]
    same = ("task", "kind", "index", "goal", "success", "reward", "end", "skills")
    return {name: record[name] for name in same} | {
        "turns": len(turns),
        "invalid": sum(not turn["valid"] for turn in turns),
        "tokens": sum(len(turn["tokens"]) for turn in turns),
        "gap": fmean(gaps) if gaps else None,
    }


def _stamp(file: Path) -> Stamp:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
