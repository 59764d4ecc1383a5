"""The contract of an objective: one frozen dataclass whose fields are its hyper-parameters and whose `loss` is pure.

Shapes: B sequences, T policy tokens (only tokens that the policy chose have a column; shorter rows are padded and
masked). A loss is a sum over the micro-batch divided by counts of the whole optimizer batch, so that micro-batches
and ranks add up to the same gradient however the batch is cut.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from torch import Tensor

from sdar.ops.reduce import Denominators, WeightedSum
from sdar.registry import Registry


class Stream(StrEnum):
    """Per-token inputs that cost something to compute."""

    OLD = "old"
    """Log-probs at the start of the step (the behaviour policy)."""
    REF = "ref"
    """Log-probs of the frozen reference policy."""
    TEACHER = "teacher"
    """Log-probs of the teacher: the policy's weights, with skills in the context."""
    ENTROPY = "entropy"
    """Entropy of the live policy's distribution, with gradient."""


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """One micro-batch. `logp_BT` and `entropy_BT` carry gradient, nothing else does."""

    logp_BT: Tensor
    mask_BT: Tensor
    adv_BT: Tensor
    turn_BT: Tensor
    old_BT: Tensor | None = None
    ref_BT: Tensor | None = None
    teacher_BT: Tensor | None = None
    entropy_BT: Tensor | None = None
    denominators: Denominators
    step: int = 0


class LossOutput(NamedTuple):
    """A scalar to differentiate and the numbers worth logging, as (sum, weight)."""

    loss: Tensor
    metrics: Mapping[str, WeightedSum]


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A named algorithm."""

    @property
    @abstractmethod
    def needs(self) -> frozenset[Stream]:
        """The streams that `loss` reads. A property, so that kl_coef=0 drops the reference pass."""

    @abstractmethod
    def loss(self, x: LossInputs) -> LossOutput:
        """The loss of one micro-batch."""


objectives: Registry[type[Objective]] = Registry("objective")
