"""OCSD: what the future says beyond a prompt of its length scales the advantage of unlikely tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.gates import top_q
from sdar.ops.reduce import weighted


@objectives.register("ocsd")
@dataclass(frozen=True, kw_only=True)
class OCSD(PolicyGradient):
    """GRPO with the advantage of the unlikeliest tokens scaled by the contrast of two teachers.

        A_t = A * w_t on the share `top_share` of a sequence's tokens with the lowest old log-prob, else A
        w_t = clip( exp(sign(A) * (future - ablated)), 1 - alpha, 1 + alpha )

    `future` has read the observations that follow, `ablated` a text of as many words without content: their
    difference leaves out what a longer prompt does by itself. The sign of the advantage stays, and no weight
    carries gradient. Tokens that lack one of the teachers keep their advantage.

    Source: after OCSD, arXiv 2608.04788: the two views, the scaled size of the advantage, and the selection
    of the 20 % with the highest negative log-likelihood.

    Differences from the paper: it selects steps, this selects tokens of a sequence, which in window mode is
    one step; the form of w and its bounds are those of RLSD, arXiv 2604.03128.
    """

    views: ClassVar[tuple[str, ...]] = ("future", "ablated")

    top_share: float = 0.2
    """Share of a sequence's tokens whose advantage is scaled."""
    alpha: float = 0.2
    """The weight stays within 1 - alpha and 1 + alpha."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, 1.0, "top_share", "alpha")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teachers."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO with scaled advantages."""
        old_BT = x.stream(Stream.OLD)
        (future_BT, has_future_BT), (ablated_BT, has_ablated_BT) = x.teacher(0), x.teacher(1)
        both_BT = has_future_BT & has_ablated_BT
        contrast_BT = future_BT - ablated_BT
        weight_BT = (x.adv_BT.sign() * contrast_BT).exp().clamp(1 - self.alpha, 1 + self.alpha)
        chosen_BT = both_BT & top_q(-old_BT, self.top_share, both_BT).bool()
        scale_BT = weight_BT.where(chosen_BT, 1.0)

        policy_BT, metrics = self.policy_term(x, x.adv_BT * scale_BT)
        metrics |= {
            "teacher/gap_mean": weighted(future_BT - x.logp_BT, has_future_BT),
            "ocsd/contrast_mean": weighted(contrast_BT, both_BT),
            "ocsd/weight_mean": weighted(weight_BT, chosen_BT),
        }
        return LossOutput(self.reduce(policy_BT, x), metrics, {"weight": scale_BT})
