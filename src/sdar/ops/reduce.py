"""Sums over policy tokens with batch-global denominators, and metrics that add up exactly."""

from typing import NamedTuple

from torch import Tensor


class Denominators(NamedTuple):
    """Counts over the whole optimizer batch, all ranks: policy tokens and sequences."""

    tokens: float
    sequences: float


class WeightedSum(NamedTuple):
    """A metric as (sum, weight); its value is sum / weight. Adds up over micro-batches and ranks."""

    sum: Tensor
    weight: Tensor
