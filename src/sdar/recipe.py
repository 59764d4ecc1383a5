"""A run: its settings, and how they are read. No torch; `sdar.build` puts together what they say.

`RunConfig()` is the embedded default run: generated ALFWorld games, the small model that the package
warm-starts by itself, SDAR, on a CPU.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import EnvSpec, Panel, envs
from sdar.errors import ConfigError
from sdar.evaluation.evaluate import EvalConfig
from sdar.model.settings import EMBEDDED, ModelConfig
from sdar.objectives.advantages import AdvantageConfig
from sdar.objectives.base import Objective, Stream, objectives
from sdar.objectives.sdar import SDAR
from sdar.rollout.settings import RolloutConfig, WriterConfig
from sdar.rollout.views import ViewsConfig
from sdar.settings.config import FLAGS, Layer, load, to_table
from sdar.settings.schedules import Shape
from sdar.settings.shipped import find_file, read_recipes
from sdar.settings.values import convert, plain
from sdar.skills.context import Detail, SkillsConfig
from sdar.trainer.settings import CheckpointConfig, OptimConfig, RanksConfig, TrainConfig, WarmStartConfig
from sdar.trainer.teachers import StartOfStep, TeacherConfig, teachers


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
    """Python files or modules to import first, which register objectives or environments. Their code runs, so
    only those count that the command line names."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Where metrics go besides metrics.jsonl; `sdar list trackers` names them."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(eval_at=(1, 2, 5)))
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
    writer: WriterConfig = field(default_factory=WriterConfig)
    """Who writes the texts that stages ask for."""
    advantage: AdvantageConfig = field(default_factory=lambda: AdvantageConfig(invalid_penalty=0.0))
    """How returns become advantages."""
    ranks: RanksConfig = field(default_factory=RanksConfig)
    """How processes share the work."""
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
    def pretrained(self) -> str:
        """The pretrained model that the policy comes from, as it was named; "" for the embedded one."""
        return self.warm_start.from_ if self.model.path == EMBEDDED else self.model.path

    @property
    def view_names(self) -> tuple[str, ...]:
        """The teacher views: the recipe's, or else the objective's; none where it needs no teacher."""
        names = self.views.names or self.objective.views
        return names if Stream.TEACHER in self.objective.needs else ()

    @property
    def panel(self) -> Panel:
        """The evaluation panel, or the environment's first, cut to `eval.tasks`."""
        name = self.eval.panel if self.eval.is_on else ""
        return self.env.panel(name or self.env.panels()[0]).cut(self.eval.tasks)


Part = Layer | RunConfig | str | Path | Mapping[str, Any] | Sequence["Part"]
"""Settings as Python code gives them, see `load_config`."""
CODE = "settings"
"""The source of a table that code gives."""


def load_config(*parts: Part, also: Sequence[str] = ()) -> RunConfig:
    """Defaults overridden by `parts`, in order; plugins named by flags or by code are imported before.

    A part is the name or path of a recipe, a table of settings whose keys may be dotted paths, a layer, whole
    settings, or a list of parts. `also` lists names worth suggesting. Plugins that a file names are not
    imported: a recipe or a run from elsewhere must not run code; a `ConfigError` says how to name them.

    >>> load_config("alfworld/embedded-official", {"train.steps": 2, "objective": "grpo"}).train.steps
    2
    """
    layers = list(_layers(parts))
    for entry in entry_points(group="sdar.plugins"):
        entry.load()
    given = [layer for layer in layers if "plugins" in layer.values]
    missing = ""
    for layer in given[-1:]:
        names = convert(tuple[str, ...], layer.values["plugins"], layer.label(["plugins"]))
        if layer.source not in (FLAGS, CODE):
            missing = name_plugins(layer.source, names)
            continue
        for plugin in names:
            import_plugin(plugin)
    try:
        return load(RunConfig, layers, also=also)
    except ConfigError as error:
        if not missing:
            raise
        raise ConfigError(f"{error} ({missing})") from error


def name_plugins(source: str, names: Sequence[str]) -> str:
    """What to do about plugins that only a file names; nothing where it names none."""
    if not names:
        return ""
    return f"{source} names plugins, whose code runs only if you add: --plugins {' '.join(names)}"


def _layers(parts: Sequence[Part]) -> Iterator[Layer]:
    for part in parts:
        if isinstance(part, Layer):
            yield part
        elif isinstance(part, RunConfig):
            yield Layer("whole settings", to_table(part))
        elif isinstance(part, str | Path):
            yield from read_recipes([str(part)])
        elif isinstance(part, Mapping):
            yield Layer(CODE, _nested(part))
        else:
            yield from _layers(part)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A table whose keys may be paths, and whose values may be typed, as a TOML file would hold it."""
    table: dict[str, Any] = {}
    for path, value in settings.items():
        *heads, leaf = path.split(".")
        inner = table
        for head in heads:
            found = inner.get(head, {})
            inner[head] = inner = dict(found) if isinstance(found, Mapping) else {"name": found}
        if is_dataclass(value) and not isinstance(value, type):
            # Only a whole run knows under which name a class is registered.
            whole: dict[str, Any] = {path: value}
            value = to_table(replace(RunConfig(), **whole))[path]
        elif isinstance(value, Mapping):
            value = _nested(value)
        inner[leaf] = plain(tuple(value) if isinstance(value, list) else value)
    return table


def import_plugin(name: str) -> None:
    """Import a `.py` file or a module, once. Raises `ConfigError` when it is not there."""
    path = find_file(name)
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
