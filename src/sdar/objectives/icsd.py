"""ICSD: distillation where teacher and reward agree, by the influence of each token in its turn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.reduce import masked, weighted
from sdar.ops.turns import segment_medians, segment_sums
from sdar.settings.schedules import Coef

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 20.0
"""Log of the largest ratio to the behaviour policy that counts."""
EPSILON = 1e-12
"""Keeps a division by a mass or spread of 0 finite."""


@objectives.register("icsd")
@dataclass(frozen=True, kw_only=True)
class ICSD(PolicyGradient):
    """GRPO plus distillation whose gate, turn by turn, is moved to where it does what the reward wants.

        L = L_GRPO + coef * sum_t [ c_t * (teacher - logp) ] / tokens
        d_t = sg(teacher - logp),  g_t = sigmoid(beta d_t),  u_t = A * sg(exp(logp - old)) * d_t
        m_t = exp((u_t - mu) / b-) / 2  below the turn's median mu of u,  1 - exp(-(u_t - mu) / b+) / 2  else
        c_t = g_t  where A < 0 and d_t < 0 (conflict),  a * g_t * m_t  elsewhere

    b- and b+ are the mean distances of u from mu below and above it: m is the distribution function of an
    asymmetric Laplace. a keeps the turn's sum of g over the tokens without conflict. c carries no gradient.

    Source: ICSD, arXiv 2608.14945, equations of u, m, a and c; coef and beta are SDAR's.

    Differences from the paper: the cases that it leaves open. A distance b of 0 has nothing on its side; with
    u all equal, m is 1/2 and c = g; the ratio is at most exp(20); where a would divide by nothing, c is 0.
    """

    coef: Coef = 0.01
    """Weight of the distillation term."""
    beta: Coef = 5.0
    """Slope of the gate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef", "beta")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teacher."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO plus the likelihood weighed by influence."""
        policy_BT, metrics = self.policy_term(x, x.adv_BT)
        gap_BT = x.stream(Stream.TEACHER) - x.logp_BT
        weight_BT, conflict_BT = self.weights(gap_BT.detach(), x)
        distil_BT = masked(weight_BT * gap_BT, x.taught_BT)
        metrics |= {
            "teacher/gap_mean": weighted(gap_BT, x.taught_BT),
            "icsd/weight_mean": weighted(weight_BT, x.taught_BT),
            "icsd/conflict_share": weighted(conflict_BT.to(gap_BT.dtype), x.taught_BT),
        }
        loss = self.reduce(policy_BT + self.at(self.coef, x) * distil_BT, x)
        return LossOutput(loss, metrics, {"gate": weight_BT})

    def weights(self, gap_BT: Tensor, x: LossInputs) -> tuple[Tensor, Tensor]:
        """The weight c of each token, 0 without a teacher, and where reward and teacher are in conflict."""
        taught_BT = x.taught_BT
        drift_BT = (x.logp_BT.detach() - x.stream(Stream.OLD)).clamp(max=LARGEST)
        gate_BT = (self.at(self.beta, x) * gap_BT).sigmoid()
        conflict_BT = (x.adv_BT < 0) & (gap_BT < 0) & taught_BT
        if not taught_BT.any():
            return masked(gate_BT, taught_BT), conflict_BT
        row_B1 = x.turn_BT.new_tensor(range(len(x.turn_BT)))[:, None]
        turn_N = (row_B1 * (int(x.turn_BT[taught_BT].max()) + 1) + x.turn_BT)[taught_BT]
        influence_N = (x.adv_BT * drift_BT.exp() * gap_BT)[taught_BT]
        gate_N, free_N = gate_BT[taught_BT], ~conflict_BT[taught_BT]
        rank_N = _laplace(influence_N, turn_N)
        mass_N = segment_sums((gate_N * rank_N) * free_N, turn_N)
        keep_N = segment_sums(gate_N * free_N, turn_N) / mass_N.clamp(min=EPSILON)
        chosen_N = (keep_N * gate_N * rank_N).where(free_N, gate_N)
        return gate_BT.new_zeros(gate_BT.shape).masked_scatter(taught_BT, chosen_N), conflict_BT


def _laplace(value_N: Tensor, turn_N: Tensor) -> Tensor:
    """The asymmetric Laplace distribution function of each value among those of its turn."""
    off_N = value_N - segment_medians(value_N, turn_N)
    below_N, above_N = off_N < 0, off_N > 0
    counts = (segment_sums(side.to(off_N.dtype), turn_N).clamp(min=1) for side in (below_N, above_N))
    less_N, more_N = counts
    low_N = segment_sums((-off_N).clamp(min=0), turn_N) / less_N
    high_N = segment_sums(off_N.clamp(min=0), turn_N) / more_N
    below = (off_N.clamp(max=0) / low_N.clamp(min=EPSILON)).exp() / 2
    above = 1 - (-off_N.clamp(min=0) / high_N.clamp(min=EPSILON)).exp() / 2
    return below.where(below_N, above)
