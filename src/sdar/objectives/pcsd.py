"""PCSD: SDAR whose gate also looks at how long the teacher has agreed in this turn, and where that tends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.gates import turn_mean
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef

if TYPE_CHECKING:
    from torch import Tensor


@objectives.register("pcsd")
@dataclass(frozen=True, kw_only=True)
class PCSD(PolicyGradient):
    """GRPO plus distillation, gated by the gap, its persistence and its trend.

        L = L_GRPO + coef * sum_t [ g_t * (teacher - logp) ] / tokens
        g_t = sg( sigmoid(beta * (gap_t + persistence * m_t + trend * (m_t - m_(t-1)))) )

    m_t is the mean positive gap of the turn up to token t, in which a token k places back has weight
    memory^k; the trend is 0 at a turn's first token. With persistence and trend 0 this is SDAR.

    Source: after PCSD, arXiv 2608.01837: decayed persistence of the positive gap and its trend, inside the
    sigmoid gate of arXiv 2605.15155.

    Differences from the paper: that m and its trend are added to the gap in this form, and the defaults of
    their weights, are ours; of its two kinds of persistence, window and decay, there is the decay.
    """

    coef: Coef = 0.01
    """Weight of the gated distillation term."""
    beta: Coef = 5.0
    """Slope of the gate."""
    persistence: float = 0.5
    """Weight of the mean positive gap in the gate."""
    trend: float = 0.5
    """Weight of its change from the token before."""
    memory: float = 0.9
    """Weight of a token beside that of the next one in the mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef", "beta", "persistence", "trend")
        check_range(self, 0.0, 1.0, "memory")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, and the teacher."""
        return super().needs | {Stream.TEACHER}

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO plus the gated likelihood."""
        policy_BT, metrics = self.policy_term(x, x.adv_BT)
        gap_BT = x.stream(Stream.TEACHER) - x.logp_BT
        gate_BT = self.gate(gap_BT.detach(), x)
        metrics |= {
            "teacher/gap_mean": weighted(gap_BT, x.taught_BT),
            "pcsd/gate_mean": weighted(gate_BT, x.taught_BT),
        }
        token_BT = policy_BT + self.at(self.coef, x) * masked(gate_BT * gap_BT, x.taught_BT)
        return LossOutput(self.reduce(token_BT, x), metrics, {"gate": gate_BT})

    def gate(self, gap_BT: Tensor, x: LossInputs) -> Tensor:
        """The weights of the tokens."""
        mean_BT = turn_mean(gap_BT.clamp(min=0), self.memory, x.turn_BT, x.taught_BT)
        trend_BT = mean_BT.new_zeros(mean_BT.shape)
        same_BT = x.turn_BT[:, 1:] == x.turn_BT[:, :-1]
        trend_BT[:, 1:] = mean_BT.diff(dim=1) * same_BT
        score_BT = gap_BT + self.persistence * mean_BT + self.trend * trend_BT
        return (self.at(self.beta, x) * score_BT).sigmoid()
