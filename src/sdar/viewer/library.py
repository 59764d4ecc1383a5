"""What the page can ask for, by key; the server and the export answer with the same objects.

runs                          all runs: name, settings, what tells them apart
state                         how much there is of each run, by which the page sees that one has grown
run/0/episodes                the short records of run 0, from row `after` on
run/0/metrics                 its metrics, from line `after` on
run/0/episode/12/3            the trajectory in line 3 of step 12
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sdar.errors import DataError, SdarError
from sdar.runs.rundir import RunDir
from sdar.runs.segments import describe_segments
from sdar.viewer.index import Index

_IGNORED = ("name", "out")
"""Settings that say nothing about what is learned."""
_SEED = "train.seed"


class Library:
    """Some runs, in the order they were given."""

    def __init__(self, runs: Sequence[RunDir]) -> None:
        self.indexes = [Index(run) for run in runs]
        self._names = _unique_names(runs)
        self._answers: list[tuple[re.Pattern[str], Callable[..., Any]]] = [
            (re.compile(r"runs"), self._runs),
            (re.compile(r"state"), self._state),
            (re.compile(r"run/(\d{1,6})/episodes"), self._episodes),
            (re.compile(r"run/(\d{1,6})/metrics"), self._metrics),
            (re.compile(r"run/(\d{1,6})/episode/(\d{1,9})/(\d{1,9})"), self._episode),
        ]

    def read(self) -> None:
        """Read all that there is now, however long it takes."""
        for index in self.indexes:
            index.refresh(seconds=float("inf"))

    def answer(self, key: str, after: int = 0) -> dict[str, Any]:
        """What the page gets for `key`. Raises `DataError` when there is no such thing."""
        for pattern, answer in self._answers:
            if found := pattern.fullmatch(key):
                numbers = [int(number) for number in found.groups()]
                if numbers and numbers[0] >= len(self.indexes):
                    raise DataError(f"there is no run {numbers[0]}")
                whole: dict[str, Any] = answer(*numbers, after)
                return whole
        raise DataError(f"there is nothing under {key!r}")

    def _runs(self, after: int) -> dict[str, Any]:
        settings = [
            {name: value for name, value in index.settings().items() if name not in _IGNORED}
            for index in self.indexes
        ]
        names = sorted({name for each in settings for name in each})
        differ = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
        runs = [
            {
                "name": name,
                "created": index.meta()["created"],
                "seed": each.get(_SEED),
                "settings": each,
                "segments": _segments(index.run),
                "differs": {name: each.get(name) for name in differ},
                "group": str(sorted((name, str(each[name])) for name in each if name != _SEED)),
            }
            for index, name, each in zip(self.indexes, self._names, settings, strict=True)
        ]
        return {"runs": runs}

    def _state(self, after: int) -> dict[str, Any]:
        for index in self.indexes:
            index.refresh()
        runs = [
            {
                "generation": index.generation,
                "episodes": len(index.rows),
                "lines": len(index.lines),
                "waiting": index.waiting,
                "problems": index.problems,
            }
            for index in self.indexes
        ]
        return {"runs": runs}

    def _episodes(self, run: int, after: int) -> dict[str, Any]:
        index = self.indexes[run]
        return {"generation": index.generation, "rows": index.rows[after:]}

    def _metrics(self, run: int, after: int) -> dict[str, Any]:
        index = self.indexes[run]
        return {"generation": index.generation, "lines": index.lines[after:]}

    def _episode(self, run: int, step: int, place: int, after: int) -> dict[str, Any]:
        return self.indexes[run].episode(step, place)


def _segments(run: RunDir) -> list[str]:
    """What is to be said of a run's resumes, or why it cannot be said."""
    try:
        return describe_segments(run)
    except SdarError as error:
        return [str(error)]


def _unique_names(runs: Sequence[RunDir]) -> list[str]:
    """Each run's directory name; with its parent's where two runs share one."""
    paths = [run.path.resolve() for run in runs]
    taken = Counter(path.name for path in paths)
    return [path.name if taken[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in paths]
