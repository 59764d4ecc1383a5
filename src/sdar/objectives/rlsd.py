"""RLSD: the teacher re-weighs GRPO's advantage, token by token; no extra loss."""

from __future__ import annotations

from dataclasses import dataclass

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.reduce import weighted
from sdar.settings.schedules import Coef


@objectives.register("rlsd")
@dataclass(frozen=True, kw_only=True)
class RLSD(PolicyGradient):
    """GRPO whose advantage is larger where the teacher agrees with its sign.

        A_t = A * ((1 - lam_k) + lam_k * w_t),    lam_k = 0.5 * max(0, 1 - k / 100) at step k
        w_t = clip( exp(sign(A) * (teacher - old)), 1 - eps, 1 + eps )

    The weights are positive and carry no gradient: the sign of the advantage stays.

    Source: Yang et al. 2026, Self-Distilled RLVR, arXiv 2604.03128, as run as a baseline in arXiv 2605.15155.

    Differences from the published code: `step` counts from 0, so the decay is one step later; tokens without
    a teacher keep the advantage as it is. As there, RLSD is plain GRPO from step 100 on.
    """

    lam: Coef = "linear:0.5:0@0:100"
    """Share of the teacher's weight in the advantage, between 0 and 1."""
    eps: float = 0.2
    """The teacher's weight stays within 1 - eps and 1 + eps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, 1.0, "lam", "eps")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teacher."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO with re-weighed advantages."""
        old_BT, teacher_BT = x.stream(Stream.OLD), x.stream(Stream.TEACHER)
        sign_BT = x.adv_BT.sign()
        weight_BT = (sign_BT * (teacher_BT - old_BT)).exp().clamp(1 - self.eps, 1 + self.eps)
        lam = self.at(self.lam, x)
        scale_BT = ((1 - lam) + lam * weight_BT).where(x.taught_BT, 1.0)

        policy_BT, metrics = self.policy_term(x, x.adv_BT * scale_BT)
        metrics |= {
            "teacher/gap_mean": weighted(teacher_BT - x.logp_BT, x.taught_BT),
            "rlsd/weight_mean": weighted(weight_BT, x.taught_BT),
            "rlsd/lam": weighted(weight_BT.new_full(weight_BT.shape, lam), x.mask_BT),
        }
        return LossOutput(self.reduce(policy_BT, x), metrics, {"weight": scale_BT})
