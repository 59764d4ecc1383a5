"""Metrics that add up exactly over micro-batches and ranks, and the time that phases take."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import torch

from sdar.ops.reduce import WeightedSum
from sdar.trainer.distributed import World


class Tally:
    """Metrics that add up. Sums stay on their device, in float64, until they are read.

    >>> tally = Tally()
    >>> tally.add({"a": WeightedSum(torch.tensor(3.0), torch.tensor(2))})
    >>> tally.values(None)
    {'a': 1.5}
    """

    def __init__(self) -> None:
        self._pairs: dict[str, torch.Tensor] = {}

    def add(self, metrics: Mapping[str, WeightedSum]) -> None:
        """Add the metrics of one micro-batch."""
        for name, (total, weight) in metrics.items():
            self._put(name, torch.stack([total.detach().double(), weight.detach().to(total.device).double()]))

    def merge(self, other: "Tally") -> None:
        """Add all of another tally."""
        for name, pair in other._pairs.items():
            self._put(name, pair)

    def values(self, world: World | None) -> dict[str, float]:
        """The sums over their weights, over all ranks (collective); names without weight are left out."""
        mine = {}
        if self._pairs:
            mine = dict(zip(self._pairs, torch.stack(list(self._pairs.values())).tolist(), strict=True))
        totals: dict[str, tuple[float, float]] = {}
        for pairs in world.gather(mine) if world else [mine]:
            for name, (total, weight) in pairs.items():
                before = totals.get(name, (0.0, 0.0))
                totals[name] = (before[0] + total, before[1] + weight)
        return {name: total / weight for name, (total, weight) in sorted(totals.items()) if weight}

    def _put(self, name: str, pair: torch.Tensor) -> None:
        self._pairs[name] = self._pairs[name] + pair if name in self._pairs else pair


class Clock:
    """Seconds spent in named phases; a phase may be entered several times."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block under `time/<name>_s`."""
        start = perf_counter()
        try:
            yield
        finally:
            key = f"time/{name}_s"
            self.seconds[key] = self.seconds.get(key, 0.0) + perf_counter() - start
