"""PCSD: SDAR whose gate looks at a stretch of gaps where they are unsteady, and closes as they fall."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdar.errors import ConfigError
from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.reduce import masked, weighted
from sdar.ops.turns import turn_windows
from sdar.settings.schedules import Coef

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-12
"""Keeps a division by a spread of 0 finite."""


@objectives.register("pcsd")
@dataclass(frozen=True, kw_only=True)
class PCSD(PolicyGradient):
    """GRPO plus distillation, gated by the gap's persistence and damped where the gap is falling.

        L = L_GRPO + coef * sum_t [ w_t * (teacher - logp) ] / tokens,    w_t = sg( sigmoid(beta d_t) * e_t )
        d_t = (1 - a_t) * gap_t + a_t * m_t,    a_t = v_t / (v_t + variance)
        e_t = max(0, 1 - damping * max(0, -slope_t / scale))

    m_t, v_t and slope_t are mean, variance and least-squares slope of the gap over the last `window` tokens
    of the turn, in which a token k places back has weight memory^k. Where the gap is steady the gate follows
    the last gap, where not the mean. Damping is one-sided: a rising gap does not open the gate further. With
    a window of 1 this is SDAR.

    Source: two summaries of PCSD, arXiv 2608.01837: the windows of 1 and 8 tokens with decay, the adaptive
    share a that rises with the local variance, the one-sided damping outside the sigmoid, and coef.
    There is no published code.

    Differences from the paper: not known. The summaries do not give the form of a, nor the values of scale,
    damping and memory: the form of a and the defaults of `variance`, `scale`, `damping` and `memory` are
    ours; beta is that of SDAR.
    """

    coef: Coef = 0.01
    """Weight of the gated distillation term."""
    beta: Coef = 5.0
    """Slope of the gate."""
    window: int = 8
    """Tokens of the long window, at least 1."""
    memory: float = 0.9
    """Weight of a token beside that of the next one in the window."""
    variance: float = 1.0
    """Variance of the gap at which the long window counts half; above 0."""
    damping: float = 0.5
    """How far a falling gap closes the gate; 0 switches the trend off."""
    scale: float = 1.0
    """Fall of the gap, in nats a token, at which the gate loses the share `damping`; above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef", "beta", "damping")
        check_range(self, 0.0, 1.0, "memory")
        check_range(self, 1e-6, math.inf, "variance", "scale")
        if self.window < 1:
            raise ConfigError(f"objective.window must be at least 1, not {self.window}")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, and the teacher."""
        return super().needs | {Stream.TEACHER}

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO plus the gated likelihood."""
        policy_BT, metrics = self.policy_term(x, x.adv_BT)
        gap_BT = x.stream(Stream.TEACHER) - x.logp_BT
        gate_BT, damped_BT = self.gate(gap_BT.detach(), x)
        metrics |= {
            "teacher/gap_mean": weighted(gap_BT, x.taught_BT),
            "pcsd/gate_mean": weighted(gate_BT, x.taught_BT),
            "pcsd/damping_mean": weighted(damped_BT, x.taught_BT),
        }
        token_BT = policy_BT + self.at(self.coef, x) * masked(gate_BT * gap_BT, x.taught_BT)
        return LossOutput(self.reduce(token_BT, x), metrics, {"gate": masked(gate_BT, x.taught_BT)})

    def gate(self, gap_BT: Tensor, x: LossInputs) -> tuple[Tensor, Tensor]:
        """The weights of the tokens, and the damping in them."""
        seen_BTN, own_BTN = turn_windows(gap_BT, x.turn_BT, x.taught_BT, self.window)
        age_N = x.turn_BT.new_tensor(range(self.window)).to(gap_BT.dtype)
        weight_BTN = own_BTN.to(gap_BT.dtype) * self.memory**age_N
        weight_BTN = weight_BTN / weight_BTN.sum(-1, keepdim=True).clamp(min=EPSILON)
        mean_BT = (weight_BTN * seen_BTN).sum(-1)
        off_BTN = seen_BTN - mean_BT[..., None]
        variance_BT = (weight_BTN * off_BTN.square()).sum(-1)
        place_BTN = (weight_BTN * age_N).sum(-1, keepdim=True) - age_N
        spread_BT = (weight_BTN * place_BTN.square()).sum(-1)
        slope_BT = (weight_BTN * place_BTN * off_BTN).sum(-1) / spread_BT.clamp(min=EPSILON)
        share_BT = variance_BT / (variance_BT + self.variance)
        damped_BT = (1 - self.damping * (-slope_BT / self.scale).clamp(min=0)).clamp(min=0)
        score_BT = (1 - share_BT) * gap_BT + share_BT * mean_BT
        return (self.at(self.beta, x) * score_BT).sigmoid() * damped_BT, damped_BT
