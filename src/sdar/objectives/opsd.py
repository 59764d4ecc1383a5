"""OPSD: on-policy self-distillation alone, without any reward."""

from dataclasses import dataclass

from sdar.objectives.base import LossInputs, LossOutput, Stream, objectives
from sdar.objectives.distillation import Distillation
from sdar.ops.reduce import weighted


@objectives.register("opsd")
@dataclass(frozen=True, kw_only=True)
class OPSD(Distillation):
    """On-Policy Self-Distillation: minimise KL(student || teacher) on what the student sampled.

        L = sum_t [ -sg(gap) logp ] / tokens,    gap = teacher - logp

    The gradient is that of the reverse KL at each sampled token; the value is not a KL. The k1 estimate of
    the KL is minus `teacher/gap_mean`. `divergence` puts another term in its place, such as the KL of the
    teacher's whole distribution.

    Source: Zhao et al. 2026, arXiv 2601.18734, as the OPSD baseline of arXiv 2605.15155; the policy-gradient
    form as in Lu 2025, https://thinkingmachines.ai/blog/on-policy-distillation/.

    Differences from the paper: its pseudo-code measures the KL to a skill-free frozen reference; here the
    teacher is the one with skills, as its text says. Differences from the published code: that run is SDAR's
    gated likelihood (beta 5, coef 0.01) plus reference KL and entropy bonus with the policy gradient off,
    which is `sdar` with pg_coef=0. No importance ratio corrects for the updates since the tokens were drawn.
    """

    @property
    def needs(self) -> frozenset[Stream]:
        """The teacher alone."""
        return self.teacher_streams

    def loss(self, x: LossInputs) -> LossOutput:
        """The divergence to the teacher."""
        opsd_BT = self.distance(x)
        metrics = {
            "teacher/gap_mean": weighted(x.stream(Stream.TEACHER) - x.logp_BT, x.taught_BT),
            "opsd/loss": weighted(opsd_BT, x.taught_BT),
        }
        return LossOutput(self.reduce(opsd_BT, x), metrics)
