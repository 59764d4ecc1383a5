"""OCSD: what later observations tell a teacher scales the advantage of an episode's uncertain steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sdar.objectives.base import Credit, PolicyGradient, StepInputs, Stream, check_range, objectives
from sdar.ops.gates import top_q
from sdar.ops.reduce import weighted
from sdar.settings.schedules import Coef


@objectives.register("ocsd")
@dataclass(frozen=True, kw_only=True)
class OCSD(PolicyGradient):
    """GRPO whose advantage, in an episode's most uncertain steps, is scaled by the contrast of two teachers.

        q_t = tanh( (future - ablated) / 2 )
        A_t = A * (1 + strength * sign(A) * q_t)    in the ceil(top_share * K) steps of largest u_k, else A
        u_k = mean over the tokens of step k of -old

    `future` has read the observations that follow, `ablated` the same text with a placeholder for each: their
    difference leaves out what a longer prompt does by itself. K counts the steps of the episode that have
    both teachers. With a strength of at most 1 no advantage changes its sign. Nothing here carries gradient.

    Source: OCSD, arXiv 2608.04788: views, q, u, the share of steps and the scaled advantage.

    Differences from the paper: the default of `strength` is ours, as its value was not to be had; the views
    do not tell the form of later actions, which the paper's both do; teachers read all steps, where the paper
    saves the pass over those that are not chosen.
    """

    views: ClassVar[tuple[str, ...]] = ("future", "ablated")

    top_share: float = 0.2
    """Share of an episode's steps whose advantage is scaled; rounded up."""
    strength: Coef = 0.5
    """How far the contrast moves an advantage, between 0 and 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, 1.0, "top_share", "strength")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teachers."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def credit(self, x: StepInputs) -> Credit:
        """Advantages scaled in the chosen steps."""
        (future_M, has_future_M), (ablated_M, has_ablated_M) = x.teacher(0), x.teacher(1)
        if not len(x.adv_M):
            return Credit(x.adv_M)
        both_M, old_M = has_future_M & has_ablated_M, x.stream(Stream.OLD)
        doubt_EK, _ = x.turn_mean(-old_M, both_M.new_ones(both_M.shape))
        _, taught_EK = x.turn_mean(old_M, both_M)
        chosen_EK = top_q(doubt_EK, self.top_share, taught_EK).bool() & taught_EK
        chosen_M = chosen_EK[x.place] & both_M
        contrast_M = ((future_M - ablated_M) / 2).tanh()
        scale_M = (1 + self.at(self.strength, x) * x.adv_M.sign() * contrast_M).where(chosen_M, 1.0)
        metrics = {
            "teacher/gap_mean": weighted(future_M - old_M, has_future_M),
            "ocsd/contrast_mean": weighted(contrast_M, both_M),
            "ocsd/weight_mean": weighted(scale_M, chosen_M),
            "ocsd/steps_chosen": weighted(chosen_EK.to(old_M.dtype), x.played_EK),
        }
        return Credit(x.adv_M * scale_M, metrics)
