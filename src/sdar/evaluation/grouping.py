"""What `sdar compare` is given: runs and results of `sdar eval`, put together over seeds. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sdar.errors import ConfigError, DataError
from sdar.evaluation.results import EvalResult, require_same_panel
from sdar.runs.rundir import RunDir, find_run, read_evals
from sdar.settings.values import by_path

SEED = "train.seed"
FREE = (SEED, "name", "out", "trackers")
"""Settings that do not make another method; `eval.*` neither, where the result itself says more."""
PLAY = ("skills", "samples", "temperature")
"""What a result says of how it was played."""
LONGEST = 60
"""Characters of a label made of settings."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One result, and where it comes from."""

    name: str
    result: EvalResult
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the run, flat: `objective.coef` -> 0.01; empty when they are not known."""
    source: str = ""
    """What was evaluated: the step of a run, or the name of another player."""
    run: RunDir | None = None
    start: str = ""
    """The model that training started from."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the code and the packages that trained it, or for a file that played it."""
    label: str = ""
    """The method's name, where the user gave one; it alone then says which entries belong together."""

    @property
    def step(self) -> int | None:
        """Training steps behind what was evaluated; None where it was no run."""
        words = self.source.split()
        return int(words[1]) if words[:1] == ["step"] and words[1:] and words[1].isdecimal() else None

    @property
    def method(self) -> dict[str, Any]:
        """All that tells one method from another."""
        return {"label": self.label} if self.label else self.facts

    @property
    def facts(self) -> dict[str, Any]:
        """The settings of training and play that matter, and how the result was played."""
        own = {key: value for key, value in self.settings.items() if key not in FREE and key[:5] != "eval."}
        seen = {name: getattr(self.result, name) for name in PLAY}
        return {**own, "evaluated": self.source, **seen}


def read_entry(word: str, out: Path) -> Entry:
    """What a word of the command line names: [LABEL=]TARGET.

    The target is a run (a path, or a name under `out`), of which the last result counts, or a JSON file.
    Files that say nothing of the player and its settings stand for themselves.
    """
    label, equals, target = word.partition("=")
    if not equals or Path(word).exists() or (out / word).exists():
        return _read(word, out)
    return replace(_read(target, out), label=label)


def _read(target: str, out: Path) -> Entry:
    if target.endswith(".json"):
        return _read_json(Path(target))
    run = find_run(target, out)
    evals = read_evals(run)
    if not evals:
        raise DataError(f"{run.path} has no evaluation yet")
    result = EvalResult.from_json(evals[max(evals)])
    first = run.segments[0]
    return Entry(
        name=run.path.resolve().name,
        result=result,
        settings=dict(by_path(run.settings)),
        source=f"step {max(evals)}",
        run=run,
        start=first.get("start", ""),
        versions={**first.get("versions", {}), "code": first.get("commit", "")},
    )


def _read_json(file: Path) -> Entry:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        result = EvalResult.from_json(data)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is not a result of sdar eval") from error
    run = f"{file.parent.parent.name}/" if file.parent.name == "eval" else ""
    return Entry(
        name=run + file.stem,
        result=result,
        settings=dict(by_path(data.get("settings", {}))),
        source=data.get("player", str(file)),
        versions=data.get("versions", {}),
    )


def group(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Label -> entries that differ in nothing but the training seed.

    A label is made of the settings in which the methods differ, where some have several seeds; else it is the
    entry's own name. Raises `ConfigError` for results on different panels and for a seed given twice.
    """
    require_same_panel([entry.result for entry in entries])
    groups: list[list[Entry]] = []
    for entry in entries:
        alike = [members for members in groups if members[0].method == entry.method]
        if alike:
            _refuse_same_seed(alike[0], entry)
            alike[0].append(entry)
        else:
            groups.append([entry])
    return dict(zip(_labels(groups), groups, strict=True))


def _refuse_same_seed(members: Sequence[Entry], entry: Entry) -> None:
    for other in members:
        if other.settings.get(SEED) == entry.settings.get(SEED):
            raise ConfigError(f"{other.name} and {entry.name} are one method with one training seed")


def _labels(groups: Sequence[Sequence[Entry]]) -> list[str]:
    names = [members[0].label or members[0].name for members in groups]
    made = [members[0].label or _differing(members[0].method, groups) for members in groups]
    usable = all(0 < len(label) <= LONGEST for label in made) and len(set(made)) == len(made)
    if usable and any(len(members) > 1 for members in groups):
        return made
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({place})" for place, name in enumerate(names, 1)]


def _differing(method: Mapping[str, Any], groups: Sequence[Sequence[Entry]]) -> str:
    """The settings whose values differ between methods; what only some methods have does not count."""
    words = []
    for key, value in method.items():
        values = [members[0].method[key] for members in groups if key in members[0].method]
        if any(other != value for other in values):
            parent, _, leaf = key.rpartition(".")
            words.append(str(value) if leaf == "name" or not parent else f"{leaf}={value}")
    return " ".join(words)
