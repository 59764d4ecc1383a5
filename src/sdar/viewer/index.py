"""What the viewer knows of one run. It reads each file once, then only what is new, and writes nothing."""

import gzip
import json
import re
import threading
import time
import tomllib
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from sdar.errors import DataError
from sdar.runs.rundir import RunDir, episodes_beside, trajectory_steps
from sdar.settings.values import by_path

Record = dict[str, Any]
Stamp = tuple[int, int, int]
"""Inode, size and time of a file: another stamp, another content."""
Source = tuple[str, int]
"""Part and step of the episodes that a file tells of."""
TRAINING, PANEL = "training", "panel"
_NAME = re.compile(r"[\w.+-]{1,200}", re.ASCII)
_OF_STEP = re.compile(r"step-(\d{1,9})", re.ASCII)
UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
"""What a file that is gone, cut short or no JSON lines raises."""


class Index:
    """The episodes and metrics of a run that may still be going on. Threads may share it.

    `rows` is one short record for each episode: see `sdar.runs.records`, with its `part` (`training`,
    `panel`, or the name of a later evaluation), its `step`, its `goal`, and its `place`, the line of its
    trajectory in the file of that part and step, or None where only the short record was kept. `panels` are
    summaries of evaluations, `lines` the metrics, one object a step. They only grow, unless `generation`
    rises: then what was read before is no longer true, as after a resume from an older step.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.rows: list[Record] = []
        self.panels: list[Record] = []
        self.lines: list[Record] = []
        self.generation = 0
        self.waiting = 0
        """Files of episodes that are still to be read."""
        self.problems: dict[str, str] = {}
        """What cannot be read -> why."""
        self._root = run.path.resolve()
        self._lock = threading.Lock()
        self._sources: dict[Source, tuple[Path, Stamp]] = {}
        self._metrics: Stamp = (0, 0, 0)
        self._read_to = 0
        self._trajectories = lru_cache(4)(lambda file, stamp: _lines(self._inside(file)))

    def refresh(self, seconds: float = 0.3) -> None:
        """Read what is new, for about so long; `waiting` says how much is left for the next time."""
        end = time.monotonic() + seconds
        with self._lock:
            self._refresh_metrics()
            found = self._find()
            if any(found.get(source) != known for source, known in self._sources.items()):
                self.generation += 1
                self.rows, self.panels, self._sources, self.problems = [], [], {}, {}
            new = [source for source in found if source not in self._sources]
            self.waiting = len(new)
            for source in new:
                self._read(source, found[source][0])
                self._sources[source] = found[source]
                self.waiting -= 1
                if time.monotonic() > end:
                    break

    def episode(self, part: str, step: int, place: int) -> Record:
        """The trajectory in this line of the file of a part and step. `DataError` where there is none."""
        what = f"{part} of step {step}" if part in (TRAINING, PANEL) else part
        if (part, step) not in self._sources:
            raise DataError(f"{self.run.path.name} has no episodes of {what}")
        file, stamp = self._sources[part, step]
        try:
            kept = file if part == TRAINING else episodes_beside(file)
            records: list[Record] = self._trajectories(kept, stamp)
        except UNREADABLE as error:
            raise DataError(f"{what} of {self.run.path.name} cannot be read: {error}") from error
        if not 0 <= place < len(records):
            raise DataError(f"{what} of {self.run.path.name} has {len(records)} trajectories")
        return records[place]

    def meta(self) -> Record:
        """When and with what the run was made."""
        found: Record = json.loads(self._inside(self.run.path / "meta.json").read_text(encoding="utf-8"))
        return found

    def settings(self) -> Record:
        """The run's settings, flat: `objective.name` -> value."""
        text = self._inside(self.run.config_file).read_text(encoding="utf-8")
        return dict(by_path(tomllib.loads(text)))

    def _find(self) -> dict[Source, tuple[Path, Stamp]]:
        """Every file that tells of episodes, as it is now: those of training, then the evaluations."""
        files = {(TRAINING, step): self.run.trajectories_file(step) for step in trajectory_steps(self.run)}
        for file in sorted((self.run.path / "eval").glob("*.json")):
            of_step = _OF_STEP.fullmatch(file.stem)
            part, step = (PANEL, int(of_step[1])) if of_step else (file.stem, _step_in(file.stem))
            if _NAME.fullmatch(part):
                files[part, step] = file
        return {source: (file, _stamp(file)) for source, file in files.items()}

    def _inside(self, file: Path) -> Path:
        """`file`, unless it is no ordinary file or a link that leads out of the run directory."""
        real = file.resolve()
        if not real.is_relative_to(self._root) or not real.is_file():
            raise DataError(f"{file.name} is not an ordinary file of {self.run.path.name}")
        return real

    def _read(self, source: Source, file: Path) -> None:
        """Take in the episodes of a file."""
        part, step = source
        try:
            if part == TRAINING:
                rows = self._training(step, self._inside(file))
            else:
                found = json.loads(self._inside(file).read_text(encoding="utf-8"))
                rows = list(_outcomes(found))
                self.panels.append({"part": part, "step": step, **_panel(found)})
            self.rows += [{"goal": "", **row, "part": part, "step": step} for row in rows]
        except (DataError, *UNREADABLE, KeyError, TypeError, AttributeError) as error:
            what = f"step {step}" if part == TRAINING else file.name
            self.problems[what] = f"{type(error).__name__}: {error}"

    def _training(self, step: int, file: Path) -> list[Record]:
        """The short records of a step, each with its place."""
        short = self.run.episodes_file(step)
        rows = _lines(self._inside(short)) if short.exists() else list(map(_summary, _lines(file)))
        if all("kept" in row for row in rows):
            return [{**row, "place": row["kept"]} for row in rows]
        kept = gzip.decompress(file.read_bytes()).count(b"\n")  # of runs that kept the first
        return [{**row, "place": number if number < kept else None} for number, row in enumerate(rows)]

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


def _outcomes(result: Record) -> Iterator[Record]:
    """The short records of an evaluation, as far as it tells."""
    places = {place: line for line, place in enumerate(result.get("kept", ()))}
    numbers = ("success", "reward", "turns", "invalid", "tokens")
    for number, outcome in enumerate(result["outcomes"]):
        for index, truncated in enumerate(outcome["truncated"]):
            yield {name: outcome[name][index] for name in numbers} | {
                "task": outcome["task"],
                "kind": outcome["kind"],
                "goal": outcome.get("goal", ""),
                "index": index,
                "end": "cut" if truncated else "done",
                "skills": [],
                "gap": None,
                "place": places.get(number * result["samples"] + index),
            }


def _panel(result: Record) -> Record:
    """What a table of evaluations shows of one."""
    names = ("panel", "fingerprint", "samples", "temperature", "seed", "by_kind")
    summary = result["summary"]
    return {name: result[name] for name in names} | {
        "tasks": len(result["outcomes"]),
        "success": [summary["success"], summary["success_low"], summary["success_high"]],
        "player": result.get("player", ""),
        "skills": result.get("skills", ""),
    }


def _step_in(name: str) -> int:
    """The step of the checkpoint that an evaluation names, or 0."""
    found = re.search(r"step-(\d{1,9})", name)
    return int(found[1]) if found else 0


def _stamp(file: Path) -> Stamp:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
