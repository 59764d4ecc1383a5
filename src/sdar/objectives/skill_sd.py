"""Skill-SD: GRPO plus an importance-weighted divergence to the skill-conditioned self."""

import math
from dataclasses import dataclass

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.divergences import k3
from sdar.ops.ratios import importance_ratio
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef


@objectives.register("skill-sd")
@dataclass(frozen=True, kw_only=True)
class SkillSD(PolicyGradient):
    """GRPO plus the k3 divergence to the teacher, corrected for the behaviour policy.

        L = L_GRPO + coef * sum_t [ rho k3 ] / tokens
        k3 = exp(min(-ell, 20)) - 1 + ell with ell = logp - teacher,    rho = exp(min(logp - old, 10))

    The gradient flows through both factors: with y ~ pi_old, rho * k3 estimates KL(student || teacher)
    without bias and its gradient is that of the KL.

    Source: Wang et al. 2026, Skill-SD, arXiv 2604.10674, as run as a baseline in arXiv 2605.15155; coef as in
    those runs (0.1 is the published code's default).

    Differences from the original Skill-SD: static skills instead of summaries of the student's trajectories.
    The published code logs a decaying coefficient and never applies it; here there is none.
    """

    coef: Coef = 0.001
    """Weight of the distillation term."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teacher."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO plus importance-weighted k3."""
        policy_BT, metrics = self.policy_term(x, x.adv_BT)

        teacher_BT = x.stream(Stream.TEACHER)
        ratio_BT = importance_ratio(x.logp_BT, x.stream(Stream.OLD), cap=10.0)
        kl_BT = k3(x.logp_BT, teacher_BT)
        skill_BT = masked(ratio_BT * kl_BT, x.taught_BT)

        metrics |= {
            "teacher/gap_mean": weighted(teacher_BT - x.logp_BT, x.taught_BT),
            "skill_sd/kl": weighted(kl_BT, x.taught_BT),
            "skill_sd/loss": weighted(skill_BT, x.taught_BT),
        }
        return LossOutput(self.reduce(policy_BT + self.at(self.coef, x) * skill_BT, x), metrics)
