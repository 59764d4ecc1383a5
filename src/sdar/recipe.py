"""A run: its settings, how they are read, and what is checked before anything heavy is loaded.

`RunConfig()` is the embedded default run: generated ALFWorld games, the small model that the package
warm-starts by itself, SDAR, on a CPU.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal

import sdar.envs.search_qa.spec
import sdar.envs.toy
import sdar.envs.webshop.spec  # noqa: F401 - they register the environments
from sdar.advantages import AdvantageConfig
from sdar.config import Layer, load
from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import EnvSpec, Panel, envs
from sdar.errors import ConfigError
from sdar.evaluate import EvalConfig
from sdar.model.load import ModelConfig
from sdar.objectives.base import Objective, PolicyGradient, Stream, objectives
from sdar.objectives.sdar import SDAR
from sdar.rollout.collector import RolloutConfig
from sdar.rollout.views import ViewsConfig, views
from sdar.runlog import check_writable
from sdar.schedules import Shape
from sdar.skills.context import Detail, SkillContext, SkillsConfig
from sdar.skills.retrieval import retrievals
from sdar.trackers import check_trackers
from sdar.trainer.checkpoint import CheckpointConfig
from sdar.trainer.loop import OldLogps, TrainConfig
from sdar.trainer.step import OptimConfig
from sdar.trainer.teachers import StartOfStep, TeacherConfig, teachers
from sdar.trainer.warm_start import WarmStartConfig
from sdar.values import convert

EMBEDDED = "embedded"
"""The `model.path` of the model that the package makes itself."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All settings of a run."""

    name: str = ""
    """Name of the run's directory; empty: environment, objective and time."""
    out: Path = Path("runs")
    """Where run directories go."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model lives."""
    plugins: tuple[str, ...] = ()
    """Python files or modules to import first, which register objectives or environments. Their code runs."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Where metrics go besides metrics.jsonl; `sdar list trackers` names them."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The course of the run."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The policy."""
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    """How the embedded model is made."""
    env: Annotated[EnvSpec, envs] = field(default_factory=lambda: AlfworldSpec(max_turns=20))
    """What is played; `--env NAME` chooses."""
    objective: Annotated[Objective, objectives] = field(default_factory=SDAR)
    """The algorithm; `--objective NAME` chooses."""
    teacher: Annotated[TeacherConfig, teachers] = field(default_factory=StartOfStep)
    """Whose weights the teacher has; `--teacher NAME` chooses."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """What the teachers see and the student does not."""
    skills: SkillsConfig = field(default_factory=lambda: SkillsConfig(detail=Detail.SUMMARY))
    """What the teacher knows."""
    rollout: RolloutConfig = field(default_factory=lambda: RolloutConfig(max_tokens=16))
    """How episodes are played."""
    advantage: AdvantageConfig = field(default_factory=lambda: AdvantageConfig(invalid_penalty=0.0))
    """How returns become advantages."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=4e-4, schedule=Shape.LINEAR))
    """How the weights are updated."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When the state is saved."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """The fixed panel."""

    @property
    def run_name(self) -> str:
        """The name given, or one made of environment, objective and time."""
        made = f"{envs.name_of(type(self.env))}-{objectives.name_of(type(self.objective))}"
        return self.name or f"{made}-{datetime.now():%Y%m%d-%H%M%S}"

    @property
    def view_names(self) -> tuple[str, ...]:
        """The teacher views: the recipe's, or else the objective's; none where it needs no teacher."""
        names = self.views.names or self.objective.views
        return names if Stream.TEACHER in self.objective.needs else ()

    @property
    def panel(self) -> Panel:
        """The evaluation panel, or the environment's first."""
        return self.env.panel(self.eval.panel or self.env.panels()[0])


def load_config(layers: Sequence[Layer], also: Sequence[str] = ()) -> RunConfig:
    """Defaults overridden by layers, in order; what `plugins` lists is imported before."""
    for entry in entry_points(group="sdar.plugins"):
        entry.load()
    given = [(layer, layer.values["plugins"]) for layer in layers if "plugins" in layer.values]
    for layer, value in given[-1:]:
        for plugin in convert(tuple[str, ...], value, layer.label(["plugins"])):
            import_plugin(plugin)
    return load(RunConfig, layers, also=also)


def import_plugin(name: str) -> None:
    """Import a `.py` file or a module, once. Raises `ConfigError` when it is not there."""
    path = Path(name)
    module = f"sdar_plugin_{path.stem}" if path.suffix == ".py" else name
    if module in sys.modules:
        return
    if path.suffix != ".py":
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigError(f"plugin {name}: {error}") from error
        return
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"plugin {name}: no such file")
    sys.modules[module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[module])


def check(config: RunConfig) -> None:
    """Find what cannot work before anything heavy is loaded. Raises an `SdarError`."""
    check_writable(config.out)
    check_trackers(config.trackers)
    split = config.env.splits()[0]
    tasks = config.env.tasks(split)
    if not len(tasks):
        raise ConfigError(f"there are no tasks in split '{split}'")
    if config.rollout.tasks_per_step > len(tasks):
        raise ConfigError(
            f"rollout.tasks_per_step is {config.rollout.tasks_per_step}, "
            f"and split '{split}' has {len(tasks)} tasks"
        )
    check_panel(config)
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
    check_views(config)
    if needs_skills(config):
        skill_context(config)


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


def check_panel(config: RunConfig) -> None:
    """Find what cannot work about the evaluation panel. Raises an `SdarError`."""
    if not len(config.panel.tasks):
        raise ConfigError(f"there are no tasks in panel '{config.panel.name}'")


def skill_context(config: RunConfig, retrieval: str = "") -> SkillContext:
    """The skills, by the configured rule or another one (its settings are used if it is the configured one).

    A kind of task without skills fails here.
    """
    settings = config.skills
    if retrieval and retrievals[retrieval] is not type(settings.retrieval):
        settings = replace(settings, retrieval=retrievals[retrieval]())
    return SkillContext.from_config(settings, {task.kind for task in config.panel.tasks}, config.train.seed)


def student_skills(config: RunConfig, rule: str) -> SkillContext | None:
    """The skills that `rule` puts into the player's own prompts; none for an empty rule."""
    return skill_context(config, rule) if rule else None


def needs_skills(config: RunConfig) -> bool:
    """Whether a teacher, the student or the embedded model's demonstrations see skills."""
    taught = any("skills" in views[name].needs for name in config.view_names)
    return taught or config.objective.student_skills or config.model.path == EMBEDDED
