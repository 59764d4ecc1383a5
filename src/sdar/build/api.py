"""What Python code calls: `sdar.train`, `sdar.evaluate`. No torch before all settings are known to fit."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.build.checks import check, check_context, check_panel
from sdar.build.find import find_model
from sdar.build.skills import student_skills
from sdar.errors import ConfigError
from sdar.recipe import Part, load_config
from sdar.runs.progress import quietly
from sdar.runs.rundir import RunDir, find_run

if TYPE_CHECKING:
    from sdar.evaluation.results import EvalResult

SHORT = {
    "steps": "train.steps",
    "seed": "train.seed",
    "lr": "optim.lr",
    "limit": "eval.tasks",
    "panel": "eval.panel",
    "samples": "eval.samples",
}
"""Keyword arguments that are short for settings."""


def train(
    *parts: Part, resume: RunDir | str | Path | None = None, quiet: bool = False, **settings: Any
) -> RunDir:
    """Do a run, or what is left of one; its directory.

    `parts` are recipes (by name or path) and tables of settings, merged from left to right, see
    `sdar.load_config`. Keyword arguments are settings too and win: `objective="grpo"`, `train={"steps": 2}`,
    or short, `steps=2` (also seed, lr, limit, panel, samples). `resume` goes on with a run (then without
    settings); `quiet` shows no progress. Raises `SdarError` for what cannot work.

        run = sdar.train("webshop/embedded", objective="grpo", steps=2)
    """
    resumed = None
    if resume is not None:
        if parts or settings:
            raise ConfigError("resume takes its settings from the run: give none beside it")
        resumed = resume if isinstance(resume, RunDir) else find_run(str(resume), Path("runs"))
        parts = (str(resumed.config_file), {"out": str(resumed.path.parent)})
    config = load_config(*parts, _long(settings))
    check(config)
    from sdar.build.train import train as train_run

    with _shown(quiet):
        return train_run(config, resumed)[0]


def evaluate(
    player: RunDir | str | Path,
    *parts: Part,
    step: int | None = None,
    skills: str = "",
    quiet: bool = False,
    **settings: Any,
) -> "EvalResult":
    """Play a fixed panel with a run's checkpoint (`step`, or the newest), a model, or an expert by its name.

    `parts` and keyword arguments change the settings as in `train`: `limit=16` cuts the panel to about 16
    tasks, each kind with its share. `skills` names a rule that puts skills into the player's own prompts.
    Nothing is written. Raises `SdarError` for what cannot work.

        print(sdar.evaluate(run, limit=16).success)
    """
    target = str(player.path if isinstance(player, RunDir) else player)
    changes = [*parts, _long(settings)]
    base = load_config(*changes)
    if target in base.env.experts():
        from sdar.build.evaluate import evaluate_expert

        check_panel(base)
        with _shown(quiet):
            return evaluate_expert(target, base)
    own, model, _ = find_model(target, step, Path("runs"))
    config = load_config(own, *changes)
    check_panel(config)
    check_context(config)
    student_skills(config, skills)
    from sdar.build.evaluate import evaluate_model

    with _shown(quiet):
        return evaluate_model(model, config, [skills])[0]


def _long(settings: dict[str, Any]) -> dict[str, Any]:
    return {SHORT.get(name, name): value for name, value in settings.items()}


def _shown(quiet: bool) -> AbstractContextManager[None]:
    return quietly() if quiet else nullcontext()
