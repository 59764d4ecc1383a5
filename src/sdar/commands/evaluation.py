"""`sdar eval`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sdar.commands.base import IS_MAIN, configure, find_model, runs_dir, say
from sdar.config import Layer
from sdar.errors import ConfigError

if TYPE_CHECKING:
    from sdar.results import EvalResult


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Options of `sdar eval`."""

    step: int | None = None
    """Checkpoint of the run, by its step; the newest by default."""
    panel: str | None = None
    """Short for --eval.panel."""
    samples: int | None = None
    """Short for --eval.samples."""
    temperature: float | None = None
    """Short for --eval.temperature."""
    with_skills: str = ""
    """Put skills into the model's own prompts, picked by this rule."""


def evaluate(words: list[str], options: EvalOptions, flags: Layer) -> int:
    """Play a fixed panel of tasks with a model and show its success, with intervals.

    MODEL is a run (a path, a name, or latest), one of its checkpoints, a transformers model, or one of the
    environment's experts (such as planner).
    """
    from sdar.build import evaluate_expert, evaluate_model
    from sdar.recipe import check_panel
    from sdar.report import result_table
    from sdar.runlog import versions, write_atomic

    if len(words) != 1:
        raise ConfigError("sdar eval takes one model: a run, a checkpoint, a transformers model or an expert")
    is_expert = words[0] in configure([], flags, EvalOptions).env.experts()
    if is_expert:
        settings, model, place = Layer(words[0], {}), Path(words[0]), runs_dir(flags) / "eval" / words[0]
    else:
        settings, model, place = find_model(words[0], options.step, runs_dir(flags))
    given = {name: getattr(options, name) for name in ("panel", "samples", "temperature")}
    short = Layer("sdar eval", {"eval": {name: value for name, value in given.items() if value is not None}})
    config = configure([settings, short], flags, EvalOptions)
    check_panel(config)
    if is_expert:
        result = evaluate_expert(config, words[0])
    else:
        result = evaluate_model(config, model, options.with_skills)
    file = place.with_name(f"{result.panel}-{place.name}-{result_tag(result)}.json")
    if IS_MAIN:
        Console().print(result_table(result))
        shown = ("reward", "turns", "tokens", "invalid", "truncated", *result.metrics)
        say("  ".join(f"{name} {result.summary[name]:.3g}" for name in shown))
        source = {"model": str(model), "command": sys.argv, "versions": versions()}
        write_atomic(file, json.dumps(result.to_json() | source) + "\n")
    say(str(file))
    return 0


def result_tag(result: "EvalResult") -> str:
    """What tells two evaluations of one model on one panel apart."""
    skills = f"-{result.skills}" if result.skills else ""
    return f"{result.samples}x-t{result.temperature:g}-seed{result.seed}{skills}"
