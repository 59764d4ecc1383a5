"""What the page can ask for, by key; the server and the export answer with the same objects.

runs                             all runs: name, key, settings, what tells them apart
state                            how much there is of each run, by which the page sees that one has grown
run/KEY/episodes                 the short records of a run, from row `after` on
run/KEY/metrics                  its metrics, from line `after` on
run/KEY/panels                   its evaluations, from number `after` on
run/KEY/episode/training/12/3    the trajectory in line 3 of step 12; of an evaluation `panel` or its name

A run's key follows from its id, so that an address stays right whatever else is shown beside it.
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
_ABOUT = ("created", "command", "commit", "platform", "versions")
"""What `meta.json` says of how a run was made."""
_SEED = "train.seed"


class Library:
    """Some runs, in the order they were given."""

    def __init__(self, runs: Sequence[RunDir]) -> None:
        self.indexes = dict(zip(_keys(runs), map(Index, runs), strict=True))
        self._names = _unique_names(runs)
        self._answers: list[tuple[re.Pattern[str], Callable[..., Any]]] = [
            (re.compile(r"runs"), self._runs),
            (re.compile(r"state"), self._state),
            (re.compile(r"run/([\w-]+)/episodes"), self._episodes),
            (re.compile(r"run/([\w-]+)/metrics"), self._metrics),
            (re.compile(r"run/([\w-]+)/panels"), self._panels),
            (re.compile(r"run/([\w-]+)/episode/([\w.+-]+)/(\d{1,9})/(\d{1,9})"), self._episode),
        ]

    def read(self) -> None:
        """Read all that there is now, however long it takes."""
        for index in self.indexes.values():
            index.refresh(seconds=float("inf"))

    def answer(self, key: str, after: int = 0) -> dict[str, Any]:
        """What the page gets for `key`. Raises `DataError` when there is no such thing."""
        for pattern, answer in self._answers:
            if found := pattern.fullmatch(key):
                run, *rest = found.groups() or ("",)
                if run and run not in self.indexes:
                    raise DataError(f"there is no run {run} here")
                whole: dict[str, Any] = answer(*([run, *rest] if run else []), after)
                return whole
        raise DataError(f"there is nothing under {key!r}")

    def _runs(self, after: int) -> dict[str, Any]:
        settings = [
            {name: value for name, value in index.settings().items() if name not in _IGNORED}
            for index in self.indexes.values()
        ]
        metas = [index.meta() for index in self.indexes.values()]
        names = sorted({name for each in settings for name in each})
        differ = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
        runs = [
            {
                "name": name,
                "key": key,
                **{part: meta.get(part) for part in _ABOUT},
                "seed": each.get(_SEED),
                "settings": each,
                "segments": _segments(index.run),
                "differs": {name: each.get(name) for name in differ},
                "group": str(sorted((name, str(each[name])) for name in each if name != _SEED)),
            }
            for (key, index), name, each, meta in zip(
                self.indexes.items(), self._names, settings, metas, strict=True
            )
        ]
        return {"runs": runs}

    def _state(self, after: int) -> dict[str, Any]:
        for index in self.indexes.values():
            index.refresh()
        runs = [
            {
                "generation": index.generation,
                "episodes": len(index.rows),
                "lines": len(index.lines),
                "panels": len(index.panels),
                "waiting": index.waiting,
                "problems": index.problems,
            }
            for index in self.indexes.values()
        ]
        return {"runs": runs}

    def _episodes(self, run: str, after: int) -> dict[str, Any]:
        index = self.indexes[run]
        return {"generation": index.generation, "rows": index.rows[after:]}

    def _metrics(self, run: str, after: int) -> dict[str, Any]:
        index = self.indexes[run]
        return {"generation": index.generation, "lines": index.lines[after:]}

    def _panels(self, run: str, after: int) -> dict[str, Any]:
        index = self.indexes[run]
        return {"generation": index.generation, "panels": index.panels[after:]}

    def _episode(self, run: str, part: str, step: str, place: str, after: int) -> dict[str, Any]:
        return self.indexes[run].episode(part, int(step), int(place))


def _keys(runs: Sequence[RunDir]) -> list[str]:
    """A short word of letters and digits for each run, out of its id; a copy of a run gets a number."""
    keys: list[str] = []
    for run in runs:
        key = re.sub(r"[^A-Za-z0-9]+", "-", run.id).strip("-") or "run"
        key = key[:8] if re.fullmatch("[0-9a-f]{32}", key) else key[:40]
        number = 1 + sum(re.fullmatch(rf"{key}(-copy\d+)?", taken) is not None for taken in keys)
        keys.append(key if number == 1 else f"{key}-copy{number}")
    return keys


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
