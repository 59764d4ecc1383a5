"""Teachers by name: whose weights score the teacher's context. What that context holds is another choice.

A `TeacherConfig` makes a `Teacher`, which says what to score with, whether to score again before an update,
and what to do after one.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from sdar.errors import ConfigError
from sdar.settings.registry import Registry

if TYPE_CHECKING:
    from sdar.model.policy import Policy
    from sdar.trainer.average import Average


@dataclass(frozen=True)
class Weights:
    """A policy to score with, and what must hold meanwhile."""

    policy: Policy
    context: Callable[[], AbstractContextManager[object]] = nullcontext

    @classmethod
    def frozen(cls, policy: Policy) -> Weights:
        """`policy` as it is now: a copy, or the policy itself with its adapters scaled to nothing.

        Call it before sharding, and shard a copy (`is_copy`) likewise. Adapters are not switched off: that
        freezes them, and sharding that first sees them frozen does not reduce their gradients in float32.
        """
        if not hasattr(policy.model, "peft_config"):
            return cls(copy.deepcopy(policy).requires_grad_(False))
        from peft.helpers import rescale_adapter_scale

        return cls(policy, partial(rescale_adapter_scale, policy.model, 0.0))

    @property
    def is_copy(self) -> bool:
        """Whether it has weights of its own."""
        return self.context is nullcontext


@dataclass(frozen=True)
class Teacher:
    """What the trainer does for a teacher. The default is the policy at the start of the step."""

    weights: Weights | None = None
    """What scores; None is the policy."""
    each_update: bool = False
    """Score again before every update of a step but the first."""
    average: Average | None = None
    """Updated after every update of the policy, and saved with it."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a teacher can be made of, sharded and on its device."""

    policy: Policy
    reference: Weights | None
    """The frozen initial policy, where it is kept."""
    average: Callable[[float], Average]
    """A moving average of the policy with this decay, from its present weights on."""
    load: Callable[[str], Policy]
    """A frozen model from a directory or hub name; `ConfigError` if its tokens are not the policy's."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(ABC):
    """Whose weights the teacher has."""

    needs_reference: ClassVar[bool] = False
    """Whether the frozen initial policy must be kept."""

    @abstractmethod
    def make(self, parts: Parts) -> Teacher:
        """The teacher of a run."""


teachers: Registry[type[TeacherConfig]] = Registry("teacher")


@teachers.register("start-of-step")
@dataclass(frozen=True, kw_only=True)
class StartOfStep(TeacherConfig):
    """The policy at the start of the step, scored once. Source: the published code of arXiv 2605.15155."""

    def make(self, parts: Parts) -> Teacher:
        """The default."""
        return Teacher()


@teachers.register("live")
@dataclass(frozen=True, kw_only=True)
class Live(TeacherConfig):
    """The policy as it is, scored before every update. Source: the objective as arXiv 2605.15155 writes it.

    It differs from `start-of-step` where a step has several updates (`optim.mini_batch`).
    """

    def make(self, parts: Parts) -> Teacher:
        """The policy, again and again."""
        return Teacher(each_update=True)


@teachers.register("ema")
@dataclass(frozen=True, kw_only=True)
class MovingAverage(TeacherConfig):
    """A moving average of the policy's weights. Source: Mean Teacher, arXiv 1703.01780.

    It is updated after every optimizer update and scores once a step.
    """

    decay: float = 0.99
    """Share of the average that stays at an update."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ConfigError(f"teacher.decay must be at least 0 and below 1, not {self.decay}")

    def make(self, parts: Parts) -> Teacher:
        """The policy with other weights in it while it scores."""
        average = parts.average(self.decay)
        return Teacher(Weights(parts.policy, average.in_place), average=average)


@teachers.register("reference")
@dataclass(frozen=True, kw_only=True)
class Reference(TeacherConfig):
    """The frozen initial policy. Source: OPSD, arXiv 2601.18734, whose teacher stays fixed."""

    needs_reference: ClassVar[bool] = True

    def make(self, parts: Parts) -> Teacher:
        """What the reference KL is measured to."""
        return Teacher(parts.reference)


@teachers.register("model")
@dataclass(frozen=True, kw_only=True)
class SecondModel(TeacherConfig):
    """Another model, which shares the tokenizer. Source: on-policy distillation, arXiv 2306.13649."""

    path: str
    """A directory or a Hugging Face hub name."""

    def make(self, parts: Parts) -> Teacher:
        """The other model, frozen."""
        return Teacher(Weights(parts.load(self.path)))
