"""OVCSD: where all of a group fail, what a player with skills did from their states, if it succeeded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.divergences import forward_kl
from sdar.ops.ratios import importance_ratio, ppo_clip
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef

if TYPE_CHECKING:
    from torch import Tensor


@objectives.register("ovcsd")
@dataclass(frozen=True, kw_only=True)
class OVCSD(PolicyGradient):
    """GRPO plus comparison and distillation with branches that a player with skills brought to success.

        L = L_GRPO + fork_coef * ppo_clip(rho, A) at forks + coef * w KL(teacher || student) after them

    In groups in which every episode fails, the policy with skills plays on from states that they reached
    (stage `verify-branches`); branches that succeed count. At the first action in which branch and episode
    differ, the branch's has advantage 1 and the episode's -1, both behind the episode's prompt. The rest of
    the branch is distilled, behind its own prompts without the skills, from the teacher that has read them.
    The divergence is over the teacher's likeliest tokens and one bucket for all others. Each term is a mean
    over the tokens of all extra samples.

    Source: OVCSD, arXiv 2607.27937, by a third party's reproduction of it: groups, states, verification,
    comparison, 16 tokens, coef.

    Differences from the paper: not known in full. The sizes of the two advantages, fork_coef, the weight of a
    row (1) and how states are chosen are ours; the group's own advantage is what the rewards give, 0 where
    all are equal.
    """

    views: ClassVar[tuple[str, ...]] = ()
    stages: ClassVar[tuple[str, ...]] = ("verify-branches",)
    stages_show_skills: ClassVar[bool] = True
    extras: ClassVar[bool] = True

    coef: Coef = 1.0
    """Weight of the distillation."""
    fork_coef: Coef = 1.0
    """Weight of the comparison at forks."""
    top_k: int = 16
    """Tokens of the teacher's distribution that are compared, all others being one bucket."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef", "fork_coef")
        check_range(self, 1, math.inf, "top_k")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy, and the teacher's distribution."""
        return super().needs | {Stream.OLD, Stream.TEACHER, Stream.TEACHER_TOP}

    @property
    def teacher_tokens(self) -> int:
        """See `Objective.teacher_tokens`."""
        return self.top_k

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO on the episodes, the rest on the extra samples."""
        own, extra = x.own, x.extra
        policy_BT, metrics = self.policy_term(own, own.adv_BT)
        fork_BT, distil_BT = self.forks(extra), self.distance(extra)
        metrics |= {
            "teacher/gap_mean": weighted(extra.stream(Stream.TEACHER) - extra.logp_BT, extra.taught_BT),
            "ovcsd/fork_loss": weighted(fork_BT, extra.mask_BT),
            "ovcsd/distance": weighted(distil_BT, extra.mask_BT),
        }
        extra_BT = self.at(self.fork_coef, x) * fork_BT + self.at(self.coef, x) * distil_BT
        return LossOutput(self.reduce(policy_BT, own) + self.reduce(extra_BT, extra), metrics)

    def forks(self, extra: LossInputs) -> Tensor:
        """The policy gradient of each token of extra samples that have an advantage, 0 elsewhere."""
        if extra.credited_mask_BT is None:
            return extra.logp_BT.new_zeros(extra.logp_BT.shape)
        ratio_BT = importance_ratio(extra.logp_BT, extra.stream(Stream.OLD))
        clipped_BT = ppo_clip(ratio_BT, extra.adv_BT, self.clip_low, self.clip_high, self.dual_clip)
        return masked(clipped_BT, extra.mask_BT & extra.credited_mask_BT)

    def distance(self, extra: LossInputs) -> Tensor:
        """The weighted KL(teacher || student) of each token of extra samples, 0 without a teacher."""
        distance_BT = forward_kl(*extra.tops)
        if extra.weight_BT is not None:
            distance_BT = extra.weight_BT * distance_BT
        return masked(distance_BT, extra.taught_BT)
