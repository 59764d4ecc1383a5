"""ADRS: a teacher's opinion of tokens as a small bonus, where it has told good turns from bad ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sdar.objectives.base import Credit, PolicyGradient, StepInputs, Stream, check_range, objectives
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef
from sdar.settings.values import check_choices

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6
"""Added to a standard deviation before dividing by it; a group's below it counts as none."""
SMALLEST = 1e-12
"""Keeps a division by a sum of weights finite."""


class Trust(StrEnum):
    """What says how far the teacher is trusted."""

    GROUP = "group"
    """Whether the turns of the group that it likes are those of better episodes."""
    ANCHOR = "anchor"
    """The same among turns that began with the same observation."""
    REFERENCE = "reference"
    """How much more than the reference policy it likes the token."""


@objectives.register("adrs")
@dataclass(frozen=True, kw_only=True)
class ADRS(PolicyGradient):
    """GRPO with a bounded token bonus made of a teacher's log-probs, where these agree with the returns.

        r_t = eta * m * (T_t - mean T) / std T    over the tokens of a turn, T the teacher
        A_t = A + clip(eta * z_t, -c, c),    z: r standardised over the tokens of the group
        c = cap * min(1, std_g / median over groups of std_g),    std_g the spread of r in group g
        m = sigmoid(sharpness * TVA)    with trust `group`, or `anchor`
        TVA = sum(a R) / sum(a) - sum((1 - a) R) / sum(1 - a) over the turns compared, 0 for fewer than two
        a_i = sigmoid(v_i - mean of v over all turns),  v_i the mean of T over turn i,  R its episode's return
        m_t = sigmoid(sharpness * (T_t - ref_t) / std T)    with trust `reference`

    A group whose r has no spread, and tokens without a teacher, keep their advantage. eta, and the entropy
    bonus with it, are on in steps 20 to 69, counted from 0. Nothing here carries gradient.

    Source: ADRS, arXiv 2608.03223, and its published code and launchers: three kinds of trust, eta twice,
    cap, and the span of steps.

    Differences from the published code: it takes statistics over turns (advantage.statistics = "turn"), which
    a recipe must say here; standard deviations are the population's; its multiplicative mode, which is RLSD
    with lam = eta, is left out.
    """

    eta: Coef = "0.02@20:70"
    """Size of the bonus."""
    trust: Trust = Trust.GROUP
    """What says how far the teacher is trusted: group, anchor or reference."""
    sharpness: float = 2.0
    """Slope of that trust."""
    cap: float = 0.2
    """Largest bonus."""
    entropy_coef: Coef = "0.01@20:70"
    """Weight of the entropy bonus; 0 leaves it out, with its `entropy` stream."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "eta", "sharpness", "cap")
        check_choices(self, "objective", trust=Trust)

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the teacher, and the reference policy where it is asked."""
        asked = {Stream.REF} if self.trust == Trust.REFERENCE else set()
        return super().needs | {Stream.TEACHER} | asked

    def credit(self, x: StepInputs) -> Credit:
        """Advantages with the bonus."""
        teacher_M, eta = x.stream(Stream.TEACHER), self.at(self.eta, x)
        mean_EK, taught_EK = x.turn_mean(teacher_M, x.taught_M)
        off_M = teacher_M - mean_EK[x.place]
        std_EK = x.turn_mean(off_M.square(), x.taught_M)[0].sqrt() + EPSILON
        std_M = std_EK[x.place]
        if self.trust == Trust.REFERENCE:
            trust_M = (self.sharpness * (teacher_M - x.stream(Stream.REF)) / std_M).sigmoid()
        else:
            trust_M = self.believed(mean_EK, taught_EK, x)[x.place]
        reward_M = masked(eta * trust_M * off_M / std_M, x.taught_M)
        bonus_M = masked(self.bonus(reward_M, eta, x), x.taught_M)
        metrics = {
            "adrs/trust_mean": weighted(trust_M, x.taught_M),
            "adrs/bonus_size": weighted(bonus_M.abs(), x.taught_M),
        }
        return Credit(x.adv_M + bonus_M, metrics)

    def believed(self, value_EK: Tensor, taught_EK: Tensor, x: StepInputs) -> Tensor:
        """The trust m in each turn [E, K]."""
        import torch

        compared_EK = x.group_E[:, None].expand(value_EK.shape)
        if self.trust == Trust.ANCHOR:
            compared_EK = x.anchor_EK
        value_N, return_N = value_EK[taught_EK], x.returns()[:, :1].expand(value_EK.shape)[taught_EK]
        trust_EK = value_EK.new_full(value_EK.shape, 0.5)
        if not len(value_N):
            return trust_EK
        liked_N = (value_N - value_N.mean()).sigmoid()
        _, number_N, count_S = compared_EK[taught_EK].unique(return_inverse=True, return_counts=True)

        def mean(weight_N: Tensor) -> Tensor:
            zeros_S = weight_N.new_zeros(len(count_S))
            total_S = zeros_S.index_add(0, number_N, weight_N * return_N)
            return total_S / zeros_S.index_add(0, number_N, weight_N).clamp(min=SMALLEST)

        better_S = masked(mean(liked_N) - mean(1 - liked_N), count_S > 1)
        found_N = (self.sharpness * better_S).sigmoid()[number_N]
        return torch.masked_scatter(trust_EK, taught_EK, found_N)

    def bonus(self, reward_M: Tensor, eta: float, x: StepInputs) -> Tensor:
        """The bonus of each token: rewards standardised in each group, and bounded."""
        group_M = x.group_E[x.episode_M]
        groups = int(x.group_E.max()) + 1 if len(x.group_E) else 0

        def mean(value_M: Tensor) -> Tensor:
            zeros_G = value_M.new_zeros(groups)
            count_G = zeros_G.index_add(0, group_M, x.taught_M.to(value_M.dtype)).clamp(min=1)
            return zeros_G.index_add(0, group_M, masked(value_M, x.taught_M)) / count_G

        off_M = reward_M - mean(reward_M)[group_M]
        std_G = mean(off_M.square()).sqrt()
        spread_G = std_G >= EPSILON
        if not spread_G.any():
            return reward_M.new_zeros(reward_M.shape)
        cap_G = self.cap * (std_G / std_G[spread_G].quantile(0.5)).clamp(max=1)
        scaled_M = eta * off_M / std_G[group_M].clamp(min=EPSILON)
        bounded_M = scaled_M.minimum(cap_G[group_M]).maximum(-cap_G[group_M])
        return masked(bounded_M, spread_G[group_M])
