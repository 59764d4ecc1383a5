"""GRPO+OPSD: reward and ungated distillation side by side."""

import math
from dataclasses import dataclass

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.objectives.distillation import Distillation
from sdar.ops.reduce import weighted
from sdar.settings.schedules import Coef


@objectives.register("grpo-opsd")
@dataclass(frozen=True, kw_only=True)
class GRPOOPSD(PolicyGradient, Distillation):
    """GRPO plus on-policy self-distillation without a gate.

        L = L_GRPO + coef * sum_t [ -sg(gap) logp ] / tokens,    gap = teacher - logp

    The second term has the gradient of KL(student || teacher) at each sampled token; its value is not a KL.
    `divergence` puts another one in its place.

    Source: the GRPO+OPSD baseline of arXiv 2605.15155.

    Differences from the published code: that run is SDAR with beta 0, a constant gate of 0.5 on teacher -
    logp, whose gradient does not depend on the teacher at all; it is `sdar` with beta=0. Here the teacher
    decides how far each token moves and in which direction.
    """

    coef: Coef = 0.01
    """Weight of the distillation term."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, and the teacher."""
        return super().needs | self.teacher_streams

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO plus the divergence to the teacher."""
        policy_BT, metrics = self.policy_term(x, x.adv_BT)
        opsd_BT = self.distance(x)
        metrics |= {
            "teacher/gap_mean": weighted(x.stream(Stream.TEACHER) - x.logp_BT, x.taught_BT),
            "opsd/loss": weighted(opsd_BT, x.taught_BT),
        }
        return LossOutput(self.reduce(policy_BT + self.at(self.coef, x) * opsd_BT, x), metrics)
