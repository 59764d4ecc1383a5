"""What cannot work is found before anything heavy is loaded. No torch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdar.build.skills import needs_skills, skill_context
from sdar.envs.base import envs
from sdar.envs.prompting import FileFrame
from sdar.errors import ConfigError, suggest
from sdar.model.settings import EMBEDDED, EmbeddedConfig, find_model
from sdar.model.vocabulary import check_vocabulary
from sdar.objectives.base import PolicyGradient, Stream, objectives
from sdar.plan.gpus import check_gpus
from sdar.plan.shapes import shape_of
from sdar.recipe import RunConfig
from sdar.rollout.views import views
from sdar.runs.files import check_writable, read_json
from sdar.runs.rundir import check_run_name
from sdar.runs.trackers import check_trackers
from sdar.trainer.settings import Offload, OldLogps
from sdar.trainer.teachers import SecondModel
from sdar.types import ContextMode

VOCABULARY_BYTES = 16 * 10**9
"""Of a teacher's log-probs of the whole vocabulary, from which on `top_k = 0` is refused."""


def check(config: RunConfig) -> None:
    """Find what cannot work before anything heavy is loaded. Raises an `SdarError`."""
    check_run_name(config.run_name)
    check_writable(config.out)
    check_trackers(config.trackers)
    check_engine(config)
    if config.pretrained:
        check_vocabulary(Path(find_model(config.pretrained)))
    check_gpus(config)
    split = config.env.splits()[0]
    tasks = config.env.tasks(split)
    if not len(tasks):
        raise ConfigError(f"there are no tasks in split '{split}'")
    if config.rollout.tasks_per_step > len(tasks):
        raise ConfigError(
            f"rollout.tasks_per_step is {config.rollout.tasks_per_step}, "
            f"and split '{split}' has {len(tasks)} tasks"
        )
    if config.eval.is_on:
        check_panel(config)
    check_context(config)
    learns_from_returns = isinstance(config.objective, PolicyGradient) and bool(config.objective.pg_coef)
    if config.rollout.group_size == 1 and learns_from_returns:
        raise ConfigError(
            f"advantage.estimator '{config.advantage.estimator}' compares the episodes of a task, "
            "and rollout.group_size is 1: use at least 2"
        )
    if Stream.ROLLOUT in config.objective.needs and config.train.old_logps is OldLogps.ROLLOUT:
        raise ConfigError(
            "objective.tis_cap compares the trainer's old log-probs with the engine's, "
            "and train.old_logps takes the engine's for both: set it to recompute"
        )
    check_offload(config)
    if shape := _shape(config):
        check_whole_vocabulary(config, int(shape.get("vocab_size", 0)))
    check_views(config)
    if needs_skills(config):
        skill_context(config)


def check_engine(config: RunConfig) -> None:
    """Find an engine that is missing here, or that the ranks cannot share. Raises `ConfigError`."""
    engine = config.rollout.engine
    engine.require()
    try:
        cuts = shape_of(config).cuts
    except ConfigError:  # a model whose shape is not at hand: the engine finds out when it loads it
        cuts = {}
    engine.check_split(int(os.environ.get("WORLD_SIZE", 1)), cuts)


def check_offload(config: RunConfig) -> None:
    """Find an offload that can do nothing. Raises `ConfigError`."""
    offload, adapted = config.ranks.offload, bool(config.model.lora_rank)
    if offload is Offload.NONE:
        return
    if config.device == "cpu":
        raise ConfigError(
            f"ranks.offload '{offload}' takes memory off a GPU, and device is cpu: "
            "leave it at none, or use --device cuda"
        )
    taught = Stream.TEACHER in config.objective.needs
    kept = Stream.REF in config.objective.needs or (taught and config.teacher.needs_reference)
    if config.ranks.offloads_frozen and (adapted or not kept) and not isinstance(config.teacher, SecondModel):
        why = "its reference is the policy without adapters" if adapted and kept else "no frozen model scores"
        rest = Offload.OPTIMIZER if config.ranks.offloads_policy else Offload.NONE
        raise ConfigError(f"ranks.offload '{offload}' can do nothing in this run, {why}: use {rest}")


def check_whole_vocabulary(config: RunConfig, vocabulary: int) -> None:
    """Refuse to keep the whole vocabulary of a teacher where that is too much. Raises `ConfigError`."""
    objective, rollout = config.objective, config.rollout
    if Stream.TEACHER_TOP not in objective.needs or objective.teacher_tokens:
        return
    tokens = rollout.tasks_per_step * rollout.group_size * config.env.max_turns * rollout.max_tokens
    size = 4 * tokens * vocabulary
    if size > VOCABULARY_BYTES:
        raise ConfigError(
            f"objective.top_k 0 keeps {vocabulary} numbers of each of a step's up to {tokens} tokens, "
            f"{size / 1e9:.0f} GB in every rank, and {VOCABULARY_BYTES / 1e9:.0f} GB is the limit: "
            "set objective.top_k, say to 64"
        )


def check_views(config: RunConfig) -> None:
    """Find views that the objective does not read or the environment cannot fill. Raises an `SdarError`."""
    names, wanted = config.view_names, config.objective.views
    if names and len(names) != len(wanted):
        raise ConfigError(
            f"objective '{objectives.name_of(type(config.objective))}' reads {len(wanted)} teacher view(s) "
            f"({', '.join(wanted)}), and views.names lists {len(names)}"
        )
    if any("expert" in views[name].needs for name in names) and not config.env.experts():
        raise ConfigError(
            f"teacher view 'expert' needs an expert, and '{envs.name_of(type(config.env))}' has none"
        )


def check_context(config: RunConfig) -> None:
    """Find a prompt file where the prompts are not those of single turns. Raises `ConfigError`."""
    if config.rollout.context is ContextMode.TRANSCRIPT and isinstance(config.env.prompts(), FileFrame):
        raise ConfigError(
            "env.prompt names a file, whose templates are prompts of one turn each: "
            "set rollout.context to window, or env.prompt to full"
        )


def check_panel(config: RunConfig) -> None:
    """Find what cannot work about the evaluation panel. Raises an `SdarError`."""
    if not config.eval.is_on:
        raise ConfigError(f"eval.panel is none: {suggest('', config.env.panels())}")
    if not len(config.panel.tasks):
        raise ConfigError(f"there are no tasks in panel '{config.panel.name}'")


def pretrained_hint(config: RunConfig) -> str:
    """A line for the user of a pretrained model with settings that are meant for the embedded one, or ""."""
    own, path = RunConfig(), config.model.path
    kept = [
        f"{name} = {value}"
        for name, value, default in (
            ("optim.lr", config.optim.lr, own.optim.lr),
            ("rollout.max_tokens", config.rollout.max_tokens, own.rollout.max_tokens),
        )
        if value == default
    ]
    if path == EMBEDDED or len(kept) < 2 or _is_small(_shape(config)):
        return ""
    return (
        f"warning: {path} is trained with settings of the embedded model, {' and '.join(kept)}: "
        f"`sdar train pretrained --model.path {path}` has some for pretrained models"
    )


def _shape(config: RunConfig) -> Mapping[str, Any]:
    """What a model's directory says of its shape; nothing of one that is elsewhere or made by the run."""
    file = Path(find_model(config.pretrained)) / "config.json" if config.pretrained else Path()
    return read_json(file) if file.is_file() else {}


def _is_small(shape: Mapping[str, Any]) -> bool:
    """Whether a model of this shape is about as small as the embedded one."""
    return bool(shape) and int(shape.get("hidden_size", 0)) <= 2 * EmbeddedConfig().hidden_size
