"""Sums over policy tokens with batch-global denominators, and metrics that add up exactly.

A reduction turns per-token losses into the loss of one micro-batch. All but `micro-batch-mean` divide by
counts of the whole optimizer batch, so the summed gradient does not depend on how the batch is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sdar.errors import ConfigError
from sdar.settings.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


class Denominators(NamedTuple):
    """Counts over the whole optimizer batch, all ranks.

    Policy tokens; sequences with at least one of them; micro-batches, which only the reproduction mode
    `micro-batch-mean` reads (0: not counted); and the constant that `constant-length` divides by.
    """

    tokens: float
    sequences: float
    micro_batches: float = 0.0
    length: float = 1.0


class WeightedSum(NamedTuple):
    """A metric as (sum, weight); its value is sum / weight. Adds up over micro-batches and ranks."""

    sum: Tensor
    weight: Tensor


Reduction: TypeAlias = "Callable[[Tensor, Tensor, Denominators], Tensor]"
reductions: Registry[Reduction] = Registry("reduction")


def masked(value_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """`value_BT` where the mask is true, 0 and no gradient elsewhere."""
    return value_BT.masked_fill(~mask_BT, 0.0)


def weighted(value_BT: Tensor, mask_BT: Tensor) -> WeightedSum:
    """The mean over masked-in tokens as a metric, without gradient."""
    return WeightedSum(masked(value_BT.detach(), mask_BT).sum(), mask_BT.sum())


@reductions.register("token")
def token_mean(token_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Mean over all policy tokens of the optimizer batch; this micro-batch's share of it.

    Source: DAPO, arXiv 2503.14476.
    """
    return masked(token_BT, mask_BT).sum() / max(denominators.tokens, 1.0)


@reductions.register("sequence")
def sequence_mean(token_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Mean over sequences of each sequence's token mean; this micro-batch's share of it.

    Source: GRPO, arXiv 2402.03300.
    """
    mean_B = masked(token_BT, mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)
    return mean_B.sum() / max(denominators.sequences, 1.0)


@reductions.register("constant-length")
def constant_length(token_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Mean over sequences of each one's sum over a constant length: no sequence's length weighs its tokens.

    Source: Dr. GRPO, arXiv 2503.20783.
    """
    return masked(token_BT, mask_BT).sum() / max(denominators.sequences, 1.0) / denominators.length


@reductions.register("micro-batch-mean")
def micro_batch_mean(token_BT: Tensor, mask_BT: Tensor, denominators: Denominators) -> Tensor:
    """Mean over micro-batches of each one's token mean, for reproduction only.

    Source: the published code of arXiv 2605.15155. Its gradient depends on how the batch is cut: cut it as
    published, by `optim.order` and `optim.micro_samples`. That code divides by a fixed number of
    micro-batches even when the last mini-batch is partial; here it is the true number.
    """
    if not denominators.micro_batches:
        raise ConfigError("reduction 'micro-batch-mean' needs Denominators.micro_batches, which is 0")
    return masked(token_BT, mask_BT).sum() / mask_BT.sum().clamp(min=1) / denominators.micro_batches
