"""Supervised learning as an objective: the trainer's own step, on demonstrations instead of episodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

from sdar.objectives.base import LossInputs, LossOutput, Objective, Stream
from sdar.ops.reduce import weighted
from sdar.rollout.samples import Sample
from sdar.trainer.batch import Batch
from sdar.trainer.step import Learner


@dataclass(frozen=True, kw_only=True)
class Imitation(Objective):
    """Mean negative log-prob of the expert's tokens over the whole batch."""

    needs: ClassVar[frozenset[Stream]] = frozenset()

    def loss(self, x: LossInputs) -> LossOutput:
        """See `Objective`."""
        return LossOutput(self.reduce(-x.logp_BT, x), {"imitation/nll": weighted(-x.logp_BT, x.mask_BT)})


def imitate(
    learner: Learner, demonstrations: Iterator[Sample], steps: int, size: int
) -> Iterator[tuple[int, float]]:
    """Learn from `size` demonstrations in each of `steps` steps; yields (steps done, loss). Collective."""
    for step in range(1, steps + 1):
        samples = [replace(sample, trajectory=row) for row, sample in enumerate(islice(demonstrations, size))]
        uncredited = [[0.0] * (1 + max(sample.turns)) for sample in samples]
        batch = Batch.build(samples, uncredited, learner.world.device)
        yield step, learner.learn(batch, step, steps).metrics["imitation/nll"]
