"""StepOPSD: a teacher that saw a successful sibling moves advantage between the tokens of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.reduce import weighted
from sdar.ops.turns import turn_average
from sdar.settings.schedules import Coef


@objectives.register("step-opsd")
@dataclass(frozen=True, kw_only=True)
class StepOPSD(PolicyGradient):
    """GRPO whose advantage is spread over the tokens of each turn by a teacher that saw how it is done.

        A_t = A * v_t / mean of v over the turn,    v_t = (1 - lam) + lam * w_t
        w_t = clip( 2 sigmoid(sign(A) * (teacher - old)), 1 - alpha, 1 + alpha )

    The teacher reads the first sibling episode that succeeded. The weights are positive, carry no gradient
    and have mean 1 in every turn: a turn keeps its sign and its budget. Without a teacher the advantage
    stays.

    Source: after StepOPSD, arXiv 2605.27140: teacher, w, lam and the normalised budget of a step.

    Differences from the paper: all tokens that the policy chose have a weight, not only those of the action
    (ALFWorld) or of reasoning and query (Search-QA); the teacher is not told the outcome of the student's own
    episode; an episode without a successful sibling has no teacher; the form of the normaliser is ours.
    """

    views: ClassVar[tuple[str, ...]] = ("sibling",)

    lam: Coef = 0.5
    """Share of the teacher's weight in the advantage, between 0 and 1."""
    alpha: float = 0.2
    """The teacher's weight stays within 1 - alpha and 1 + alpha; below 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, 1.0, "lam")
        check_range(self, 0.0, 0.99, "alpha")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teacher."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO with advantages spread anew inside each turn."""
        gap_BT = x.stream(Stream.TEACHER) - x.stream(Stream.OLD)
        weight_BT = 2 * (x.adv_BT.sign() * gap_BT).sigmoid()
        weight_BT = weight_BT.clamp(1 - self.alpha, 1 + self.alpha)
        lam = self.at(self.lam, x)
        value_BT = (1 - lam) + lam * weight_BT
        mean_BT = turn_average(value_BT, x.turn_BT, x.taught_BT)
        scale_BT = (value_BT / mean_BT).where(x.taught_BT, 1.0)

        policy_BT, metrics = self.policy_term(x, x.adv_BT * scale_BT)
        metrics |= {
            "teacher/gap_mean": weighted(gap_BT, x.taught_BT),
            "step_opsd/weight_mean": weighted(weight_BT, x.taught_BT),
            "step_opsd/spread": weighted((scale_BT - 1).abs(), x.taught_BT),
        }
        return LossOutput(self.reduce(policy_BT, x), metrics, {"weight": scale_BT})
