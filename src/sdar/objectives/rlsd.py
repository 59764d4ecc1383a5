"""RLSD: the teacher re-weighs GRPO's advantage, token by token; no extra loss."""

import math
from dataclasses import dataclass

import torch

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.reduce import weighted


@objectives.register("rlsd")
@dataclass(frozen=True, kw_only=True)
class RLSD(PolicyGradient):
    """GRPO whose advantage is larger where the teacher agrees with its sign.

        A_t = A * ((1 - lam_k) + lam_k * w_t),    lam_k = lam * max(0, 1 - k / decay_steps) at step k
        w_t = clip( exp(sign(A) * (teacher - old)), 1 - eps, 1 + eps )

    The weights are positive and carry no gradient: the sign of the advantage stays.

    Source: Yang et al. 2026, Self-Distilled RLVR, arXiv 2604.03128, as run as a baseline in arXiv 2605.15155.

    Differences from the published code: `step` counts from 0, so the decay is one step later; tokens without
    a teacher keep the advantage as it is. As there, RLSD is plain GRPO from step `decay_steps` on.
    """

    lam: float = 0.5
    """Share of the teacher's weight in the advantage at the first step, between 0 and 1."""
    decay_steps: int = 100
    """Training step at which `lam` has fallen linearly to 0; 0 keeps it constant."""
    eps: float = 0.2
    """The teacher's weight stays within 1 - eps and 1 + eps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, 1.0, "lam", "eps")
        check_range(self, 0, math.inf, "decay_steps")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teacher."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def lam_at(self, step: int) -> float:
        """`lam` at a training step, counted from 0.

        >>> [RLSD().lam_at(step) for step in (0, 50, 100, 101)]
        [0.5, 0.25, 0.0, 0.0]
        """
        return self.lam * max(0.0, 1.0 - step / self.decay_steps) if self.decay_steps else self.lam

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO with re-weighed advantages."""
        old_BT, teacher_BT = x.stream(Stream.OLD), x.stream(Stream.TEACHER)
        sign_BT = x.adv_BT.sign()
        weight_BT = torch.exp(sign_BT * (teacher_BT - old_BT)).clamp(1 - self.eps, 1 + self.eps)
        lam = self.lam_at(x.step)
        scale_BT = torch.where(x.taught_BT, (1 - lam) + lam * weight_BT, 1.0)

        policy_BT, metrics = self.policy_term(x, x.adv_BT * scale_BT)
        metrics |= {
            "teacher/gap_mean": weighted(teacher_BT - x.logp_BT, x.taught_BT),
            "rlsd/weight_mean": weighted(weight_BT, x.taught_BT),
            "rlsd/lam": weighted(torch.full_like(weight_BT, lam), x.mask_BT),
        }
        return LossOutput(self.reduce(policy_BT, x), metrics, {"weight": scale_BT})
