"""Settings of training: the course of a run, the optimizer, checkpoints, the warm start. No torch."""

import os
from dataclasses import dataclass, field
from enum import StrEnum

from sdar.errors import ConfigError
from sdar.model.settings import EmbeddedConfig
from sdar.rollout.settings import Overflow
from sdar.rollout.stages import stages
from sdar.settings.schedules import Shape
from sdar.settings.values import check_least


class OldLogps(StrEnum):
    """Where the log-probs of the behaviour policy come from."""

    ROLLOUT = "rollout"
    RECOMPUTE = "recompute"


class Offload(StrEnum):
    """What waits in the host's memory while the GPU does not need it."""

    NONE = "none"
    REFERENCE = "reference"
    OPTIMIZER = "optimizer"
    BOTH = "both"


class Order(StrEnum):
    """How samples are put in a row before they are cut: by chance, or as they were played."""

    SHUFFLED = "shuffled"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The course of a run."""

    steps: int = 30
    """Training steps."""
    seed: int = 0
    """Decides tasks, sampling and shuffling."""
    eval_every: int = 10
    """Training steps between two evaluations; 0 evaluates only before the first step and after the last."""
    eval_at: tuple[int, ...] = ()
    """More training steps after which to evaluate."""
    old_logps: OldLogps = OldLogps.ROLLOUT
    """The engine's log-probs as sampled, or the trainer's own, recomputed at the start of the step."""
    teacher_overflow: Overflow = Overflow.RAISE
    """A teacher's prompt over its budget or the context is an error, or that sample has no such teacher."""
    stages: tuple[str, ...] = ()
    """What is done with the groups between rollout and learning, in order; `sdar list stages` names it."""
    max_skipped: int = 3
    """Steps in a row without a usable update after which the run stops as diverged."""
    record: int = 8
    """Trajectories whose tokens and streams are kept each step, spread over the tasks."""

    def __post_init__(self) -> None:
        check_least(self, "train", steps=1, seed=0, eval_every=0, max_skipped=1, record=0)
        for name in self.stages:
            stages[name]

    def evaluates_after(self, step: int) -> bool:
        """Whether the panel is played after this training step; it always is before the first."""
        due = self.eval_every and step % self.eval_every == 0
        return bool(step == self.steps or step in self.eval_at or due)


@dataclass(frozen=True, kw_only=True)
class RanksConfig:
    """How the processes of a run, which `torchrun` starts, share the work and its memory."""

    shard_over: int = 0
    """Ranks that hold the weights together, each a part; further ranks hold copies of these parts. 0: those
    of one node."""
    timeout: float = 3600.0
    """Seconds that a rank waits for the others; the embedded model's warm start, which the first rank makes,
    must fit."""
    offload: Offload = Offload.NONE
    """What waits in the host's memory: "reference" (frozen models that score), "optimizer" (the policy's
    weights, gradients and moments, and updates are made there), both, or none. With a GPU only."""

    def __post_init__(self) -> None:
        check_least(self, "ranks", shard_over=0, timeout=1)

    def holders(self) -> int:
        """Ranks that hold the weights together, of those that torchrun started.

        Raises `ConfigError` for a number that does not divide them.
        """
        size = int(os.environ.get("WORLD_SIZE", 1))
        wanted = self.shard_over
        chosen = wanted or int(os.environ.get("LOCAL_WORLD_SIZE", size))
        if size % chosen == 0:
            return chosen
        if not wanted:  # nodes of different sizes
            return size
        nearest = min((n for n in range(1, size + 1) if size % n == 0), key=lambda n: (abs(n - wanted), -n))
        raise ConfigError(f"ranks.shard_over is {wanted}, which does not divide {size} ranks: use {nearest}")

    @property
    def offloads_frozen(self) -> bool:
        """Whether frozen models wait in the host's memory."""
        return self.offload in (Offload.REFERENCE, Offload.BOTH)

    @property
    def offloads_policy(self) -> bool:
        """Whether the policy and its optimizer's state wait in the host's memory."""
        return self.offload in (Offload.OPTIMIZER, Offload.BOTH)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and how a step's samples are cut."""

    lr: float = 3e-4
    """Largest learning rate."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the moments."""
    warmup_steps: int = 0
    """Training steps over which the learning rate rises linearly."""
    warmup_from_zero: bool = False
    """The first training step has rate 0 and the others one step's share less, as the published trainer
    counts."""
    schedule: Shape = Shape.CONSTANT
    """How it falls to 0 after the warm-up: constant (not at all), linear, cosine or warm-down."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it; 0 is no limit."""
    mini_batch: int = 0
    """Samples for one optimizer update, about; 0 makes one update of the whole step."""
    order: Order = Order.SHUFFLED
    """Samples are shuffled before they are cut into mini-batches, or stay as they were played: episode by
    episode, turn by turn, in mini-batches of exactly that size and a rest."""
    micro_tokens: int = 8192
    """Tokens in one forward pass, at most; it changes memory and speed, not the result, except with
    objective.reduction "micro-batch-mean"."""
    micro_samples: int = 0
    """Samples in one forward pass of an update, in their order, instead of optim.micro_tokens; 0: by tokens.
    Only objective.reduction "micro-batch-mean" depends on it."""

    def __post_init__(self) -> None:
        least = {"lr": 0, "weight_decay": 0, "max_grad_norm": 0, "mini_batch": 0, "warmup_steps": 0}
        check_least(self, "optim", **least, micro_samples=0, micro_tokens=1)
        if self.warmup_from_zero and not self.warmup_steps:
            raise ConfigError("optim.warmup_from_zero counts the steps of a warm-up: set optim.warmup_steps")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optim.betas must be at least 0 and below 1, not {self.betas}")

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of training step `step`, from 1 to `steps`.

        >>> OptimConfig(lr=1.0, warmup_steps=2, schedule=Shape.LINEAR).lr_at(1, 6)
        0.5
        >>> OptimConfig(lr=1.0, warmup_steps=2, warmup_from_zero=True).lr_at(1, 6)
        0.0
        """
        if step <= self.warmup_steps:
            return self.lr * (step - self.warmup_from_zero) / self.warmup_steps
        left = (steps - step + 1) / max(1, steps - self.warmup_steps)
        return self.lr * self.schedule.left(left)


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are written and how many stay."""

    every: int = 10
    """Training steps from one checkpoint to the next; the last step always has one."""
    keep: int = 2
    """Newest checkpoints that are kept."""

    def __post_init__(self) -> None:
        check_least(self, "checkpoint", every=1, keep=1)


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig:
    """How the model that a run starts from learns from demonstrations of the environment's experts."""

    from_: str = ""
    """A pretrained model to start from, a directory or hub name; empty: the embedded model, from scratch."""
    model: EmbeddedConfig = field(default_factory=EmbeddedConfig)
    """Shape of the embedded model."""
    steps: int = 600
    """Optimizer updates."""
    demonstrations: int = 16
    """Demonstrations in one update."""
    lr: float = 4e-3
    """Largest learning rate; it rises over the first twentieth of the updates and then falls linearly."""
    skilled_expert: str = "explorer"
    """Expert of the demonstrations with the right skills."""
    skilled_noise: float = 0.05
    """Share of wrong steps in demonstrations with the right skills."""
    plain_expert: str = "wanderer"
    """Expert of all other demonstrations."""
    plain_noise: float = 0.42
    """Share of wrong steps in all other demonstrations."""
    right: float = 0.5
    """Share of the demonstrations that show the right skills."""
    wordings: int = 3
    """Wordings of each skill that demonstrations draw from, its summary first."""
    wrong: float = 0.125
    """Share that shows the skills of another kind of task, and plays as if there were none."""
    junk: float = 0.125
    """Share that shows unrelated text instead of skills, and plays as if there were none."""
    text_weight: float = 0.3
    """Weight of what the environment says, against 1 for what the expert says; the embedded model only."""
    seed: int = 0
    """Decides weights, tasks and mistakes."""

    def __post_init__(self) -> None:
        check_least(self, "warm_start", steps=1, demonstrations=2, lr=0, text_weight=0, seed=0, wordings=1)
        for name in ("skilled_noise", "plain_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"warm_start.{name} must be between 0 and 1, not {getattr(self, name)}")
        if min(self.right, self.wrong, self.junk) < 0 or self.right + self.wrong + self.junk > 1:
            raise ConfigError("warm_start.right, wrong and junk are shares: none below 0, together at most 1")
