"""AgentOPSD: turns at which the teacher's belief in success moves take more of the advantage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdar.objectives.base import (
    Credit,
    PolicyGradient,
    StepInputs,
    Stream,
    check_range,
    objectives,
)
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6
"""Added to a standard deviation before dividing by it."""


@objectives.register("agent-opsd")
@dataclass(frozen=True, kw_only=True)
class AgentOPSD(PolicyGradient):
    """GRPO whose advantage is weighed turn by turn with a belief in success that the teacher's gaps move.

        e_k = sum over the tokens of turn k of (teacher - old)                    its evidence
        B_k = sigmoid(logit(B_0) + c_k),  c_k = decay * c_(k-1) + e_k,  c_0 = 0   the belief after it
        z_k = standardised over the episode: sign(A) * (B_k - B_(k-1))
        A_k = A * ((1 - lam) + lam * clip(1 + alpha * z_k, 1 - alpha, 1 + alpha))

    B_0 is the group's success rate, kept `margin` away from 0 and 1. The weights are positive: no advantage
    changes its sign. An episode without a teacher, or of a single turn, keeps its advantage.

    Source: after AgentOPSD, arXiv 2608.05987: evidence, recursion, prior, decay, standardised gain, bounds
    and lam.

    Differences from the paper: clip_high is 0.24 there; the teacher has the weights of the start of the step;
    notes on it give 0.001 and 0.0001 for `margin`, and this takes the first.

    Differences from the published code: it runs with decay 1, and its prior is the mean return of the group,
    at most 0.9999. There a success returns 10, so one in a group of 8 is enough to start at 0.9999, where
    evidence hardly moves the belief: its gate is nearly shut. Here the decay is the paper's and the prior the
    rate of success. It too takes the standard deviation of the population.
    """

    lam: Coef = 0.5
    """Share of the turn's weight in the advantage, between 0 and 1."""
    alpha: float = 0.2
    """The weight stays within 1 - alpha and 1 + alpha; below 1."""
    decay: float = 0.95
    """What earlier evidence is worth one turn later."""
    margin: float = 0.001
    """The first belief stays this far from 0 and 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, 1.0, "lam", "decay")
        check_range(self, 0.0, 0.99, "alpha")
        check_range(self, 1e-6, 0.5, "margin")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teacher."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def credit(self, x: StepInputs) -> Credit:
        """Advantages weighed by how much each turn moves the belief."""
        if not len(x.adv_M):
            return Credit(x.adv_M)
        gap_M = masked(x.stream(Stream.TEACHER) - x.stream(Stream.OLD), x.taught_M)
        evidence_EK, played_EK = x.turn_sum(gap_M), x.played_EK
        adv_EK = gap_M.new_zeros(played_EK.shape).index_put(x.place, x.adv_M)

        gain_EK = beliefs(evidence_EK, self.prior(x), self.decay).diff(dim=1)
        score_EK = standardised(adv_EK.sign() * gain_EK, played_EK)
        weight_EK = (1 + self.alpha * score_EK).clamp(1 - self.alpha, 1 + self.alpha)
        lam = self.at(self.lam, x)
        metrics = {
            "teacher/gap_mean": weighted(gap_M, x.taught_M),
            "agent_opsd/gain": weighted(gain_EK.abs(), played_EK),
            "agent_opsd/weight_mean": weighted(weight_EK, played_EK),
            "agent_opsd/spread": weighted((weight_EK - 1).abs(), played_EK),
        }
        return Credit(x.adv_M * ((1 - lam) + lam * weight_EK)[x.place], metrics)

    def prior(self, x: StepInputs) -> Tensor:
        """The first belief [E]: how often the episode's group succeeded."""
        success_E = x.success_E.to(x.adv_M.dtype)
        sums = success_E.new_zeros(len(x.group_E)).index_add(0, x.group_E, success_E)
        counts = success_E.new_zeros(len(x.group_E)).index_add(
            0, x.group_E, success_E.new_ones(success_E.shape)
        )
        return (sums / counts.clamp(min=1))[x.group_E].clamp(self.margin, 1 - self.margin)


def beliefs(evidence_EK: Tensor, prior_E: Tensor, decay: float) -> Tensor:
    """The belief before the first of K turns and after each, [E, K + 1].

    >>> import torch
    >>> beliefs(torch.zeros(1, 2), torch.tensor([0.25]), 0.95)
    tensor([[0.2500, 0.2500, 0.2500]])
    """
    import torch

    turn_K = torch.arange(evidence_EK.shape[1], device=evidence_EK.device)
    age_KK = turn_K - turn_K[:, None]
    memory_KK = torch.where(age_KK >= 0, decay ** age_KK.clamp(min=0).to(evidence_EK.dtype), 0.0)
    start_E1 = prior_E.logit()[:, None]
    return torch.cat([start_E1, start_E1 + evidence_EK @ memory_KK], dim=1).sigmoid()


def standardised(value_EK: Tensor, mask_EK: Tensor) -> Tensor:
    """Row by row less the mean, over the standard deviation of the masked-in values; elsewhere 0."""
    count_E1 = mask_EK.sum(1, keepdim=True).clamp(min=1)
    centred_EK = masked(value_EK - masked(value_EK, mask_EK).sum(1, keepdim=True) / count_E1, mask_EK)
    return centred_EK / ((centred_EK.square().sum(1, keepdim=True) / count_E1).sqrt() + EPSILON)
