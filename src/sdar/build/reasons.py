"""Why a warm start's model has to be made: what is not as it was for the most similar one. No torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdar.errors import DataError
from sdar.recipe import RunConfig
from sdar.runs.files import read_json, write_atomic
from sdar.settings.config import to_table
from sdar.settings.values import by_path

SEEN = ("env.", "skills.", "warm_start.", "rollout.context", "rollout.history")
"""Settings that a warm start may depend on."""


def note_file(model: Path) -> Path:
    """What is known of how a model was made; beside it, since its own files are its weights' alone."""
    return model.with_name(f"{model.name}.made.json")


def note(config: RunConfig, model: Path, seconds: float) -> None:
    """Keep the settings of a warm start, and how long it took."""
    made = {"settings": _settings(config), "seconds": round(seconds)}
    write_atomic(note_file(model), json.dumps(made, indent=1) + "\n")


def reason(config: RunConfig, model: Path) -> str:
    """One line: why `model` is made now, how long that may take, and how to do without."""
    own, family = _settings(config), model.name.split("-")[0]
    made = {file: _read(file) for file in sorted(model.parent.glob(f"{family}-*.made.json"))}
    known = {file: told for file, told in made.items() if told["settings"].get("env.name") == own["env.name"]}
    if not known:
        return "making a model by demonstrations, once for these settings: minutes for the embedded model"
    file = min(known, key=lambda file: len(differing(known[file]["settings"], own)))
    differ, took = differing(known[file]["settings"], own), known[file]["seconds"]
    what = ", ".join(differ) or "what demonstrations show, or the code that learns from them,"
    verb = "differ" if len(differ) > 1 else "differs"
    about = f"{took / 60:.0f} min" if took >= 60 else f"{took} s"
    near = file.with_name(file.name.removesuffix(".made.json"))
    keep = f"; --model.path {near} keeps the old one" if near.is_dir() else ""
    return f"making another model by demonstrations: {what} {verb}; {about}{keep}"


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the settings that are not the same; of another class's settings its name says enough."""
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    others = tuple(name.removesuffix("name") for name in names if name.endswith(".name"))
    kept = (name for name in names if name.endswith(".name") or not name.startswith(others))
    return [name.removesuffix(".name") for name in kept]


def _settings(config: RunConfig) -> dict[str, Any]:
    return {name: value for name, value in by_path(to_table(config)) if name.startswith(SEEN)}


def _read(file: Path) -> dict[str, Any]:
    """A note; an empty one where it is damaged, since it only explains."""
    try:
        told = read_json(file)
    except DataError:
        return {"settings": {}, "seconds": 0}
    return {"settings": told.get("settings", {}), "seconds": told.get("seconds", 0)}
