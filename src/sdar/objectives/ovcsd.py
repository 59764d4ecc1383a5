"""OVCSD: where all of a group fail, what a player with skills did from their states, if it succeeded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.divergences import forward_kl
from sdar.ops.ratios import importance_ratio, ppo_clip
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef
from sdar.settings.values import check_choices

if TYPE_CHECKING:
    from torch import Tensor


class First(StrEnum):
    """Which of the states that episodes shared are played on from."""

    LATEST = "latest"
    EARLIEST = "earliest"


@objectives.register("ovcsd")
@dataclass(frozen=True, kw_only=True)
class OVCSD(PolicyGradient):
    """GRPO plus comparison and distillation with branches that a player with skills brought to success.

        L = L_GRPO + fork_coef * ppo_clip(rho, A) at forks + coef * w KL(teacher || student) after them

    In groups in which every episode fails, the policy with skills plays on from states that they reached
    (stage `verify-branches`); branches that succeed count. At the first action in which branch and episode
    differ, the branch's has advantage 1 and the episode's -blame, both behind the episode's prompt. The rest
    of the branch is distilled, behind its own prompts without the skills, from the teacher that has read
    them. The divergence is over the teacher's likeliest tokens and one bucket for all others. Each term is a
    mean over the tokens of all extra samples.

    Source: a third party's reproduction of OVCSD, arXiv 2607.27937: groups, states, tries, verification,
    comparison, 16 tokens, coef.

    Differences from the paper: not known in full. What the reproduction leaves open is ours: the defaults of
    `fork_coef`, `blame` and `first`, the weight w of a row, which is 1 and so scaled by coef alone, and that
    one branch of a state counts. Its fallback for states that are not shared is left out, as a group always
    shares its first state. The group's own advantage is what the rewards give, 0 where all are equal.
    """

    views: ClassVar[tuple[str, ...]] = ()
    stages: ClassVar[tuple[str, ...]] = ("verify-branches",)
    stages_show_skills: ClassVar[bool] = True
    extras: ClassVar[bool] = True

    coef: Coef = 1.0
    """Weight of the distillation."""
    fork_coef: Coef = 1.0
    """Weight of the comparison at forks."""
    blame: float = 1.0
    """Size of the advantage of an episode's answer at a fork, beside 1 for the branch's."""
    states: int = 3
    """States of a group that are played on from, at most."""
    tries: int = 2
    """Continuations from each state."""
    first: First = First.LATEST
    """Which states come first: the latest or the earliest."""
    top_k: int = 16
    """Tokens of the teacher's distribution that are compared, all others being one bucket."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef", "fork_coef", "blame")
        check_range(self, 1, math.inf, "top_k", "states", "tries")
        check_choices(self, "objective", first=First)

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
