"""What a study runs: a TOML file with axes of settings becomes an ordered list of named runs. No torch.

`model` is the directory, seen from the file, of the model that all runs start from; without it the embedded
model of the settings is made. `base` names recipes, and `[settings]`, over them, is what every run shares.
Under `[axes]`, an axis names its values, and a value is a table of settings. Under `[parts]`, a part is a
product of values, with `*` for all of an axis. Each `[[order]]` does its `parts` seed by seed, for its
`seeds`. `like` names another study's file, seen from this one: of settings, axes, parts and order, what this
file does not have is that one's. See `studies/skill_quality.toml` and `studies/smollm2_webshop.toml`.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar.errors import ConfigError, suggest
from sdar.settings.config import read_toml
from sdar.settings.shipped import is_shipped, read_bases
from sdar.settings.values import flag_words

Table = Mapping[str, Any]
SHARED = ("settings", "axes", "parts", "order")
"""What a study may have of another."""


@dataclass(frozen=True)
class Planned:
    """One run of a study."""

    part: str
    """The part of the study that asks for it first."""
    axes: Mapping[str, str]
    """Axis -> name of its value; an axis that the part does not vary is absent."""
    seed: int
    settings: Table
    """Everything that differs from the defaults of `sdar train`."""

    @property
    def name(self) -> str:
        """Its values and its seed, like `sdar-half-seed0`."""
        return "-".join([*self.axes.values(), f"seed{self.seed}"])

    @property
    def digest(self) -> str:
        """Eight digits that change with the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Plan:
    """All runs of a study, in the order in which they are done."""

    file: Path
    settings: Table
    """What every run shares."""
    runs: tuple[Planned, ...]
    model: Path | None = None
    """Directory of the model that all runs start from; None: the embedded one, made anew."""

    @property
    def results(self) -> Path:
        """Where the result files go: beside the study's file, or in `studies` for one of the package."""
        home = Path("studies") if is_shipped(self.file) else self.file.parent
        return home / "results" / self.file.stem


def read_plan(file: Path) -> Plan:
    """Expand a study's file. Raises `ConfigError` for what it does not know."""
    layer = read_toml(file)
    table = layer.values
    _known(table, ("base", "model", "like", *SHARED), str(file))
    if "like" in table:
        other = file.parent / table["like"]
        theirs = read_toml(other).values
        _known(theirs, ("base", "model", *SHARED), str(other))
        table = {name: theirs[name] for name in SHARED if name in theirs} | dict(table)
    for name in ("axes", "parts", "order"):
        if name not in table:
            raise ConfigError(f"{file} has no {name}")
    model = file.parent / table["model"] if "model" in table else None
    shared = _merge([*(base.values for base in read_bases(layer, file)), table.get("settings", {})])
    runs: dict[str, Planned] = {}
    for entry in table["order"]:
        _known(entry, ("seeds", "parts"), f"{file}: order")
        for seed, part in itertools.product(entry["seeds"], entry["parts"]):
            _known([part], table["parts"], f"{file}: parts")
            for axes in _product(table["parts"][part], table["axes"], f"{file}: parts.{part}"):
                chosen = [table["axes"][axis][value] for axis, value in axes.items()]
                settings = _merge([shared, *chosen, {"train": {"seed": seed}}])
                run = Planned(part, axes, seed, settings)
                if runs.setdefault(run.name, run).settings != settings:
                    raise ConfigError(f"{file}: two runs with different settings are named {run.name}")
    if not runs:
        raise ConfigError(f"{file} orders no run")
    return Plan(file, shared, tuple(runs.values()), model)


def _product(part: Table, axes: Table, place: str) -> Iterator[dict[str, str]]:
    _known(part, axes, place)
    choices = {axis: list(axes[axis]) if values == "*" else values for axis, values in part.items()}
    for axis, values in choices.items():
        _known(values, axes[axis], f"{place}.{axis}")
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def _known(names: Table | Sequence[str], known: Table | Sequence[str], place: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{place}: unknown name '{name}': {suggest(name, known)}")


def _merge(tables: Sequence[Table]) -> dict[str, Any]:
    """Nested tables over one another, the last one winning."""
    merged: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            old = merged.get(key)
            nested = isinstance(old, Mapping) and isinstance(value, Mapping)
            merged[key] = _merge([old or {}, value]) if nested else value
    return merged


def flags(settings: Table, prefix: str = "") -> list[str]:
    """The settings as words of a command line.

    >>> flags({"optim": {"lr": 0.1}, "trackers": []})
    ['--optim.lr', '0.1', '--trackers']
    """
    words: list[str] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            words += flags(value, f"{prefix}{key}.")
        else:
            words += [f"--{prefix}{key}", *flag_words(value)]
    return words
