"""A whole training run in a second: the toy corridor, a tiny random model, the real engine and trainer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.envs.base import Env, EnvSpec
from sdar.envs.toy import ToyEnv, ToySpec
from sdar.model.chat import Chat
from sdar.model.load import add_lora
from sdar.model.policy import Policy
from sdar.model.settings import ModelConfig
from sdar.objectives.advantages import AdvantageConfig
from sdar.objectives.base import Objective
from sdar.objectives.sdar import SDAR
from sdar.rollout.collector import Collector
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.settings import RolloutConfig, WriterConfig
from sdar.rollout.views import Views
from sdar.rollout.writing import PolicyAuthor, Writing
from sdar.runs.rundir import RunDir
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.context import SkillContext
from sdar.skills.retrieval import Everything, Retrieval
from sdar.trainer.average import Average
from sdar.trainer.checkpoint import Checkpoints
from sdar.trainer.distributed import World, shard
from sdar.trainer.loop import Trainer
from sdar.trainer.metrics import rollout_metrics
from sdar.trainer.settings import CheckpointConfig, OptimConfig, TrainConfig
from sdar.trainer.step import Learner, make_optimizer
from sdar.trainer.teachers import Parts, StartOfStep, TeacherConfig, Weights
from sdar.trainer.weight_sync import export_model
from sdar.types import Observation, Step, Task

torch.set_num_threads(1)
"""Threads that wait for one another are slower than one on a tiny model."""


BANK = SkillBank(
    "toy",
    (
        Skill("walk", "", "Walk.", "Walk to the door."),
        Skill("go-left", "left", "Go left.", "Go to the left."),
        Skill("go-right", "right", "Go right.", "Go to the right."),
    ),
)


class LooseEnv(ToyEnv):
    """A corridor that takes any text for a move, so that a random model sometimes finds the door."""

    def step(self, text: str) -> Step:
        return super().step("right" if len(text) % 2 else "left")


@dataclass(frozen=True, kw_only=True)
class LooseSpec(ToySpec):
    def make(self) -> Env:
        return LooseEnv(self.max_turns)


class LongEnv(LooseEnv):
    """A corridor of which, with some doors, more is said than a model can read."""

    def __init__(self, max_turns: int, long: Sequence[int]) -> None:
        super().__init__(max_turns)
        self._long = long

    def reset(self, task: Task) -> Observation:
        seen = super().reset(task)
        return replace(seen, text=seen.text * 900) if task.payload in self._long else seen


@dataclass(frozen=True, kw_only=True)
class LongSpec(LooseSpec):
    long: tuple[int, ...] = (1, -2)

    def make(self) -> Env:
        return LongEnv(self.max_turns, self.long)


@dataclass
class Quiet:
    """A progress that remembers."""

    steps: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def begin(self, done: int) -> None:
        self.began = done

    def phase(self, name: str, done: int, total: int, successes: int = 0) -> None:
        pass

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        self.steps.append(step)

    def message(self, text: str) -> None:
        self.messages.append(text)


def tiny_trainer(
    path: Path,
    world: World,
    *,
    steps: int = 6,
    objective: Objective | None = None,
    rollout: RolloutConfig | None = None,
    optim: OptimConfig | None = None,
    checkpoint: CheckpointConfig | None = None,
    teacher: TeacherConfig | None = None,
    retrieval: Retrieval | None = None,
    views: tuple[str, ...] = (),
    spec: EnvSpec | None = None,
    lora: int = 0,
    dtype: torch.dtype = torch.float32,
    **train: Any,
) -> Trainer:
    """All parts of a run in `path`, which is made or continued."""
    objective = objective or SDAR(coef=0.1)
    rollout = rollout or RolloutConfig(tasks_per_step=4, group_size=2, max_tokens=6)
    optim = optim or OptimConfig(lr=1e-2, mini_batch=4, micro_tokens=200, warmup_steps=2)
    chat, spec = Chat(tiny_tokenizer()), spec or LooseSpec(max_turns=4)
    engine = HFEngine(tiny_model(), stop_ids=chat.stop_ids)
    policy = Policy(add_lora(tiny_model(), ModelConfig(lora_rank=lora)) if lora else tiny_model())
    reference = Weights.frozen(policy)
    shard(policy, world, dtype)
    if reference.is_copy:
        shard(reference.policy, world, dtype)
    parts = Parts(
        policy=policy,
        reference=reference,
        average=lambda decay: Average(policy, decay),
        load=lambda path: Policy(tiny_model(seed=int(path))),
    )
    skills, share = SkillContext(BANK, retrieval or Everything()), objective.skilled_share
    shows = objective.stages_show_skills
    known = skills if share or shows else None
    collector = Collector(spec, engine, chat, rollout, known, share if known else 1.0)

    def evaluate(step: int) -> dict[str, float]:
        groups = collector.collect(spec.panel(spec.panels()[0]).tasks[:2], 1, seed=0)
        return {"eval/entropy": rollout_metrics(groups)["rollout/entropy"]}

    if world.is_main and not path.exists():
        RunDir.create(path.parent, path.name, "", exact=True)
    world.barrier()
    run = RunDir.open(path)
    return Trainer(
        config=TrainConfig(steps=steps, eval_every=2, **train),
        advantage=AdvantageConfig(),
        tasks=spec.tasks(spec.splits()[0]),
        collector=collector,
        engine=engine,
        chat=chat,
        teacher=Views(names=views or objective.views, spec=spec, skills=skills)
        if views or objective.views
        else None,
        learner=Learner(
            policy=policy,
            optimizer=make_optimizer(policy, optim),
            objective=objective,
            config=optim,
            world=world,
            temperature=rollout.temperature,
            reference=reference,
            teacher=(teacher or StartOfStep()).make(parts),
        ),
        checkpoints=Checkpoints(
            run.checkpoints,
            checkpoint or CheckpointConfig(every=2),
            world,
            lambda path: export_model(policy, torch.float32, tiny_tokenizer(), world, path),
        ),
        run=run,
        writing=Writing(
            author=PolicyAuthor(engine, chat),
            config=WriterConfig(max_tokens=4),
            run=run,
            ranks=world,
            seed=train.get("seed", 0),
        ),
        evaluate=evaluate,
        progress=Quiet(),
    )


def timeless(metrics: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Metrics without those that measure time."""
    return [{name: value for name, value in step.items() if not name.startswith("time/")} for step in metrics]
