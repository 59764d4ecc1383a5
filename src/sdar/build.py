"""Builds the parts of a run from its settings, in one place, and does it: train, evaluate, warm-start."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging

from sdar.config import to_toml
from sdar.errors import ConfigError, ContextOverflow
from sdar.evaluate import Collects, evaluate
from sdar.model.chat import Chat
from sdar.model.load import ModelConfig, load_model, load_tokenizer, save_model
from sdar.model.policy import Policy
from sdar.objectives.base import Stream
from sdar.progress import Display, display
from sdar.recipe import EMBEDDED, RunConfig, needs_skills, skill_context, student_skills
from sdar.report import draw_learning_curve
from sdar.results import EvalResult
from sdar.rollout.collector import Collector
from sdar.rollout.endpoint import KEY, ChatEndpoint, EndpointCollector, EndpointConfig
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.experts import ExpertCollector
from sdar.rollout.views import Views
from sdar.runlog import RunDir
from sdar.skills.context import SkillContext
from sdar.skills.retrieval import retrievals
from sdar.trackers import Trackers
from sdar.trainer.checkpoint import Checkpoints, latest, read_returns, step_of
from sdar.trainer.distributed import World, join, shard
from sdar.trainer.loop import Progress, Trainer
from sdar.trainer.step import Learner, make_optimizer
from sdar.trainer.teachers import Parts, Teacher, Weights
from sdar.trainer.warm_start import WarmStart
from sdar.types import ContextMode


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


def evaluate_model(model: Path, config: RunConfig, rules: Sequence[str] = ("",)) -> list[EvalResult]:
    """Play the panel with the model in a directory, once for each rule of skills for its own prompts."""
    with stage(config) as (world, shown):
        chat = Chat(load_tokenizer(model))
        engine = make_engine(config, model, world, chat)

        def play(rule: str) -> EvalResult:
            student = student_skills(config, rule)
            if student:
                student.returns.load(read_returns(model.parent))
            collector = Collector(config.env, engine, chat, config.rollout, student)
            return play_panel(config, collector, rule, world, shown)

        return [play(rule) for rule in rules]


def evaluate_expert(name: str, config: RunConfig) -> EvalResult:
    """Play the panel with one of the environment's scripted experts."""
    with stage(config) as (world, shown):
        return play_panel(config, ExpertCollector(config.env, name), "", world, shown)


def evaluate_endpoint(
    endpoint: EndpointConfig, config: RunConfig, rules: Sequence[str] = ("",)
) -> list[EvalResult]:
    """Play the panel with a chat endpoint, once for each rule of skills; its key is in the environment."""
    player = ChatEndpoint(endpoint, os.environ.get(KEY, ""))
    with stage(config) as (world, shown):

        def play(rule: str) -> EvalResult:
            collector = EndpointCollector(config.env, player, config.rollout, student_skills(config, rule))
            return play_panel(config, collector, rule, world, shown)

        return [play(rule) for rule in rules]


def warm_start(config: RunConfig) -> Path:
    """Make the embedded model where it is missing; its directory."""
    with stage(config) as (world, shown):
        return start_model(replace(config, model=replace(config.model, path=EMBEDDED)), world, shown)


def start_model(config: RunConfig, world: World, shown: Display) -> Path:
    """The directory (or hub name) of the initial policy; the embedded one is made where it is missing."""
    if config.model.path != EMBEDDED:
        return Path(config.model.path)
    warm_start = WarmStart(
        spec=config.env,
        skills=replace(skill_context(config), wrong_rate=0.0),
        rollout=config.rollout,
        config=config.warm_start,
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
        self._trackers = Trackers(config.trackers if world.is_main else (), run, first)

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
    shown = retrievals.name_of(type(config.skills.retrieval)) if objective.student_skills else ""

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
        teacher=teacher_views(config, skills),
        learner=make_learner(config, start, world),
        checkpoints=Checkpoints(run.checkpoints, config.checkpoint, world, export),
        run=run,
        evaluate=evaluate_step,
        progress=progress,
    )


def teacher_views(config: RunConfig, skills: SkillContext | None) -> Views | None:
    """What the teachers see, where the objective needs one."""
    names = config.view_names
    if not names:
        return None
    return Views(names=names, spec=config.env, skills=skills, budgets=config.views.budgets)


def check_prompt(config: RunConfig, model: Path, chat: Chat, skills: SkillContext | None) -> None:
    """Find out before the weights are loaded that a first prompt, with its skills, does not fit."""
    task, prompts = config.panel.tasks[0], config.env.prompts()
    first = config.env.make().reset(task)
    transcript = config.rollout.context is ContextMode.TRANSCRIPT
    messages = prompts.opening(first) if transcript else prompts.window(first, [], first, 0)
    if skills is not None:
        messages = skills.apply(messages, skills.select(task, first.goal))
    length = len(chat.render(messages)) + config.rollout.max_tokens
    limit = context_of(model)
    if length > limit:
        raise ContextOverflow(
            f"the first prompt of task '{task.id}' and an answer of {config.rollout.max_tokens} tokens make "
            f"{length} tokens, and the context of the model at {model} is {limit}"
        )


def make_learner(config: RunConfig, start: Path, world: World) -> Learner:
    """The policy with its optimizer and the models it is compared with, sharded over all ranks."""
    policy = Policy(load_model(config.model, start, world.device))
    needs, dtype = config.objective.needs, config.model.compute_dtype
    taught = Stream.TEACHER in needs
    kept = Stream.REF in needs or (taught and config.teacher.needs_reference)
    reference = Weights.frozen(policy) if kept else None
    shard(policy, world, dtype)
    if reference is not None and reference.is_copy:
        shard(reference.policy, world, dtype)

    def load(path: str) -> Policy:
        check_teacher(path, start)
        frozen = load_model(ModelConfig(), path, world.device, param_dtype=dtype).requires_grad_(False)
        other = Policy(frozen)
        shard(other, world, dtype)
        return other

    parts = Parts(policy=policy, reference=reference, load=load)
    return Learner(
        policy=policy,
        optimizer=make_optimizer(policy, config.optim),
        objective=config.objective,
        config=config.optim,
        world=world,
        seed=config.train.seed,
        temperature=config.rollout.temperature,
        reference=reference,
        teacher=config.teacher.make(parts) if taught else Teacher(),
    )


def check_teacher(path: Path | str, policy: Path) -> None:
    """Refuse a second model that reads other tokens than the policy, or fewer, before weights are loaded."""
    theirs, ours = (load_tokenizer(each).get_vocab() for each in (path, policy))
    if theirs != ours:
        token = min(token for token, _ in theirs.items() ^ ours.items())
        raise ConfigError(
            f"a teacher must share the policy's tokenizer, and the vocabulary of {path} is not that of "
            f"{policy}: there '{token}' is {theirs.get(token, 'missing')}, here {ours.get(token, 'missing')}"
        )
    there, here = context_of(path), context_of(policy)
    if there < here:
        raise ConfigError(f"the teacher at {path} has a context of {there} tokens, the policy one of {here}")


def context_of(model: Path | str) -> int:
    """Tokens that a model can read."""
    return int(AutoConfig.from_pretrained(model).get_text_config().max_position_embeddings)


def make_engine(config: RunConfig, model: Path, world: World, chat: Chat) -> HFEngine:
    """A rollout engine with weights of its own, plain even where the policy has adapters."""
    plain = replace(config.model, lora_rank=0, gradient_checkpointing=False)
    copy = load_model(plain, model, world.device, param_dtype=config.model.compute_dtype)
    assert isinstance(copy, PreTrainedModel)
    return HFEngine(copy, stop_ids=chat.stop_ids, max_rows=config.rollout.max_live)


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
