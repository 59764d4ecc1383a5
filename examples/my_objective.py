"""An objective in one file: distil only where the teacher is clearly surer than the student.

sdar check objective margin --plugins examples/my_objective.py
sdar train --objective margin --plugins examples/my_objective.py
"""

import math
from dataclasses import dataclass

from sdar.objectives.base import LossInputs, LossOutput, Objective, Stream, check_range, objectives
from sdar.objectives.oracles import Expected, Tensors, oracles
from sdar.ops.reduce import Denominators, masked, weighted


@objectives.register("margin")
@dataclass(frozen=True, kw_only=True)
class Margin(Objective):
    """Raise the log-prob of the sampled tokens that the teacher prefers by more than a margin.

        L = sum_t [ g (teacher - logp) ] / tokens,    g = 1 where teacher - logp > margin, else 0

    Source: none, an example. Differences: from `sdar`, no policy gradient and a hard gate.
    """

    margin: float = 0.5
    """How much surer the teacher must be, in nats."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "margin")

    @property
    def needs(self) -> frozenset[Stream]:
        """The teacher's log-probs."""
        return frozenset({Stream.TEACHER})

    def loss(self, x: LossInputs) -> LossOutput:
        """The gated likelihood; the gate has no gradient."""
        teacher_BT = x.stream(Stream.TEACHER)
        gate_BT = (teacher_BT - x.logp_BT).detach() > self.margin
        token_BT = masked(gate_BT * (teacher_BT - x.logp_BT), x.taught_BT)
        metrics = {"margin/active": weighted(gate_BT.float(), x.taught_BT)}
        return LossOutput(self.reduce(token_BT, x), metrics)


@oracles.register("margin")
def margin_oracle(objective: Margin, x: Tensors, counts: Denominators, step: int) -> Expected:
    """Loss and gradient by hand, in NumPy: d/dlogp of g (teacher - logp) is -g."""
    gap_BT = x["teacher_BT"] - x["logp_BT"]
    gate_BT = (gap_BT > objective.margin) & x["mask_BT"] & x.get("teacher_mask_BT", True)
    loss = float((gate_BT * gap_BT).sum()) / counts.tokens
    return Expected(loss, -gate_BT.astype(float) / counts.tokens)
