"""A run: its settings, and the one place that builds everything from them.

`RunConfig()` is the embedded default run: generated ALFWorld games, the small model that the package
warm-starts by itself, SDAR, on a CPU.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal

from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging

import sdar.envs.search_qa.spec
import sdar.envs.toy
import sdar.envs.webshop.spec  # noqa: F401 - they register the environments
from sdar.advantages import AdvantageConfig
from sdar.config import Layer, load, to_toml
from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import EnvSpec, Panel, envs
from sdar.errors import ConfigError, ContextOverflow
from sdar.evaluate import Collects, EvalConfig, evaluate
from sdar.model.chat import Chat
from sdar.model.load import ModelConfig, load_model, load_tokenizer, save_model
from sdar.model.policy import Policy
from sdar.objectives.base import Objective, PolicyGradient, Stream, objectives
from sdar.objectives.sdar import SDAR
from sdar.progress import Display, display
from sdar.report import draw_learning_curve
from sdar.results import EvalResult
from sdar.rollout.collector import Collector, RolloutConfig
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.experts import ExpertCollector
from sdar.runlog import RunDir, check_writable
from sdar.skills.context import Detail, SkillContext, SkillsConfig
from sdar.trackers import Trackers, trackers
from sdar.trainer.checkpoint import CheckpointConfig, Checkpoints, latest, step_of
from sdar.trainer.distributed import World, join, shard
from sdar.trainer.loop import Progress, TrainConfig, Trainer
from sdar.trainer.step import Learner, OptimConfig, Reference, Schedule, make_optimizer
from sdar.trainer.warm_start import WarmStart, WarmStartConfig
from sdar.types import ContextMode
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
    """Where metrics go besides metrics.jsonl."""
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
    skills: SkillsConfig = field(default_factory=lambda: SkillsConfig(detail=Detail.SUMMARY))
    """What the teacher knows."""
    rollout: RolloutConfig = field(default_factory=lambda: RolloutConfig(max_tokens=16))
    """How episodes are played."""
    advantage: AdvantageConfig = field(default_factory=lambda: AdvantageConfig(invalid_penalty=0.0))
    """How returns become advantages."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=4e-4, schedule=Schedule.LINEAR))
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
    for name in config.trackers:
        trackers[name]
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
    learns_from_returns = isinstance(config.objective, PolicyGradient) and config.objective.pg_coef > 0
    if config.rollout.group_size == 1 and learns_from_returns:
        raise ConfigError(
            f"advantage.estimator '{config.advantage.estimator}' compares the episodes of a task, "
            "and rollout.group_size is 1: use at least 2"
        )
    if needs_skills(config):
        skill_context(config)


def check_panel(config: RunConfig) -> None:
    """Find what cannot work about the evaluation panel. Raises an `SdarError`."""
    if not len(config.panel.tasks):
        raise ConfigError(f"there are no tasks in panel '{config.panel.name}'")


def skill_context(config: RunConfig, retrieval: str = "") -> SkillContext:
    """The skills, by the configured rule or another one; a kind of task without skills fails here."""
    settings = replace(config.skills, retrieval=retrieval or config.skills.retrieval)
    return SkillContext.from_config(settings, {task.kind for task in config.panel.tasks}, config.train.seed)


def needs_skills(config: RunConfig) -> bool:
    """Whether the teacher, the student or the embedded model's demonstrations see skills."""
    objective = config.objective
    return Stream.TEACHER in objective.needs or objective.student_skills or config.model.path == EMBEDDED


def train(config: RunConfig, resume: RunDir | None = None) -> tuple[RunDir, int]:
    """Do a run, or what is left of one; its directory and the number of steps done (collective).

    Fewer steps than `config.train.steps` mean that the user asked to stop.
    """
    with stage(config) as (world, shown):
        start = start_model(config, world, shown)
        run = claim_run(config, world, resume)
        watcher = Watcher(shown, config, run, world)
        try:
            done = build(config, start, run, world, watcher).train()
        finally:
            watcher.close()
        if world.is_main:
            draw_learning_curve(run)
    return run, done


@contextmanager
def stage(config: RunConfig) -> Iterator[tuple[World, Display]]:
    """The processes that work together, and what the user sees of it."""
    logging.disable_progress_bar()
    with join(config.device) as world, display(config.train.steps, main=world.is_main) as shown:
        yield world, shown


def evaluate_model(config: RunConfig, model: Path, skills: str = "") -> EvalResult:
    """Play the panel with the model in a directory; `skills` names a rule for skills in its own prompts."""
    with stage(config) as (world, shown):
        chat = Chat(load_tokenizer(model))
        student = skill_context(config, skills) if skills else None
        collector = Collector(
            config.env, make_engine(config, model, world, chat), chat, config.rollout, student
        )
        return play_panel(config, collector, skills, world, shown)


def evaluate_expert(config: RunConfig, name: str) -> EvalResult:
    """Play the panel with one of the environment's scripted experts."""
    with stage(config) as (world, shown):
        return play_panel(config, ExpertCollector(config.env, name), "", world, shown)


def warm_start(config: RunConfig) -> Path:
    """Make the embedded model where it is missing; its directory."""
    with stage(config) as (world, shown):
        return start_model(replace(config, model=replace(config.model, path=EMBEDDED)), world, shown)


def start_model(config: RunConfig, world: World, shown: Display) -> Path:
    """The directory (or hub name) of the initial policy; the embedded one is made where it is missing."""
    if config.model.path != EMBEDDED:
        return Path(config.model.path)
    warm_start = WarmStart(
        spec=config.env, skills=skill_context(config), rollout=config.rollout, config=config.warm_start
    )
    if world.is_main:
        warm_start.ensure(world.device, lambda done, total, loss: shown.phase("warm start", done, total))
    world.barrier()
    return warm_start.directory


def claim_run(config: RunConfig, world: World, resume: RunDir | None) -> RunDir:
    """The run directory, on every rank: the one to resume, or a new one."""
    if resume is not None:
        return resume
    made = []
    if world.is_main:
        made = [RunDir.create(config.out, config.run_name, to_toml(config), exact=bool(config.name))]
    return next(run for shared in world.gather(made) for run in shared)


class Watcher:
    """Passes what the trainer says to the display and to the trackers."""

    def __init__(self, shown: Display, config: RunConfig, run: RunDir, world: World) -> None:
        newest = latest(run.checkpoints)
        first = step_of(newest) + 1 if newest else 0
        self._shown = shown
        self._trackers = Trackers(config.trackers if world.is_main else (), run.path, first)

    def phase(self, name: str, done: int, total: int, successes: int = 0) -> None:
        """See `sdar.trainer.loop.Progress`."""
        self._shown.phase(name, done, total, successes)

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `sdar.trainer.loop.Progress`."""
        self._shown.step(step, metrics)
        self._trackers.log(step, metrics)

    def message(self, text: str) -> None:
        """See `sdar.trainer.loop.Progress`."""
        self._shown.message(text)

    def close(self) -> None:
        """Write out what the trackers hold."""
        self._trackers.close()


def build(config: RunConfig, start: Path, run: RunDir, world: World, progress: Progress) -> Trainer:
    """All parts of a run whose policy starts from the model in `start` (collective)."""
    spec, objective = config.env, config.objective
    tokenizer = load_tokenizer(start)
    chat = Chat(tokenizer)
    skills = skill_context(config) if needs_skills(config) else None
    check_prompt(config, start, chat, skills)
    engine = make_engine(config, start, world, chat)
    collector = Collector(spec, engine, chat, config.rollout, skills if objective.student_skills else None)
    shown = config.skills.retrieval if objective.student_skills else ""

    def export(directory: Path) -> None:
        save_model(engine.model, tokenizer, directory)

    def evaluate_step(step: int) -> dict[str, float]:
        result = play_panel(config, collector, shown, world, progress)
        if world.is_main:
            run.write_eval(step, result.to_json())
        by_kind = {f"eval/success/{kind}": rate.value for kind, rate in result.by_kind.items()}
        return {f"eval/{name}": value for name, value in result.summary.items()} | by_kind

    return Trainer(
        config=config.train,
        advantage=config.advantage,
        tasks=spec.tasks(spec.splits()[0]),
        collector=collector,
        engine=engine,
        chat=chat,
        teacher=skills if Stream.TEACHER in objective.needs else None,
        learner=make_learner(config, start, world),
        checkpoints=Checkpoints(run.checkpoints, config.checkpoint, world, export),
        run=run,
        evaluate=evaluate_step,
        progress=progress,
    )


def check_prompt(config: RunConfig, model: Path, chat: Chat, skills: SkillContext | None) -> None:
    """Find out before the weights are loaded that a first prompt, with its skills, does not fit."""
    task, prompts = config.panel.tasks[0], config.env.prompts()
    first = config.env.make().reset(task)
    transcript = config.rollout.context is ContextMode.TRANSCRIPT
    messages = prompts.opening(first) if transcript else prompts.window(first, [], first, 0)
    if skills is not None:
        messages = skills.apply(messages, skills.select(task, first.goal))
    length = len(chat.render(messages)) + config.rollout.max_tokens
    limit = AutoConfig.from_pretrained(model).get_text_config().max_position_embeddings
    if length > limit:
        raise ContextOverflow(
            f"the first prompt of task '{task.id}' and an answer of {config.rollout.max_tokens} tokens make "
            f"{length} tokens, and the context of the model at {model} is {limit}"
        )


def make_learner(config: RunConfig, start: Path, world: World) -> Learner:
    """The policy with its optimizer, sharded over all ranks."""
    policy = Policy(load_model(config.model, start, world.device))
    reference = Reference.of(policy) if Stream.REF in config.objective.needs else None
    shard(policy, world, config.model.compute_dtype)
    if reference is not None and reference.is_copy:
        shard(reference.policy, world, config.model.compute_dtype)
    return Learner(
        policy=policy,
        optimizer=make_optimizer(policy, config.optim),
        objective=config.objective,
        config=config.optim,
        world=world,
        seed=config.train.seed,
        temperature=config.rollout.temperature,
        reference=reference,
    )


def make_engine(config: RunConfig, model: Path, world: World, chat: Chat) -> HFEngine:
    """A rollout engine with weights of its own, plain even where the policy has adapters."""
    plain = replace(config.model, lora_rank=0, gradient_checkpointing=False)
    copy = load_model(plain, model, world.device, param_dtype=config.model.compute_dtype)
    assert isinstance(copy, PreTrainedModel)
    return HFEngine(copy, stop_ids=chat.stop_ids)


def play_panel(
    config: RunConfig, collector: Collects, skills: str, world: World, progress: Progress | Display
) -> EvalResult:
    """The result of the collector's policy on the panel (collective)."""
    return evaluate(
        config.panel,
        collector,
        config.eval,
        max_tokens=config.rollout.max_tokens,
        skills=skills,
        ranks=world,
        on_progress=lambda done, total, won: progress.phase("evaluation", done, total, won),
    )
