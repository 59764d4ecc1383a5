"""UCOB: each branch of a group, with and without skills, learns from the other where that one did better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.divergences import forward_kl
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef
from sdar.text.spans import Span

if TYPE_CHECKING:
    from torch import Tensor


@objectives.register("ucob")
@dataclass(frozen=True, kw_only=True)
class UCOB(PolicyGradient):
    """GRPO over groups that play half with skills, plus distillation between their two kinds of prompt.

        L = L_GRPO + coef * mean over tokens of extra samples of [ w_t g_t KL(teacher || student) ]
        w_t = min(margin / scale, cap), times action_weight at tokens of an action;  0 unless margin > least
        g_t = sg( sigmoid(beta * (teacher - logp)) )

    An extra sample (stage `swap-skills`) is the best answer that a group gave to an observation, behind the
    prompt of another of its episodes that saw the same, with skills if the answer was given without and the
    other way round. Margin is the difference of the two discounted returns. The teacher reads what the answer
    was given to. The divergence is over the teacher's likeliest tokens, both renormalised. Extra samples have
    no policy gradient.

    Source: UCOB, arXiv 2606.29502, and its published code and launchers; settings are theirs.

    Differences from the published code: skills are those of the run's bank, where it keeps memories of tasks
    and states that a model writes; its mode that compares whole episodes, which no launcher has on, and its
    optional self-training are left out; returns are compared as advantage says, where it takes GiGPO's (give
    advantage.statistics = "gigpo-turn" and advantage.estimator = "group-mean").
    """

    views: ClassVar[tuple[str, ...]] = ()
    stages: ClassVar[tuple[str, ...]] = ("swap-skills",)
    extras: ClassVar[bool] = True

    coef: Coef = 0.1
    """Weight of the distillation."""
    beta: Coef = 5.0
    """Slope of the gate."""
    least: float = 0.05
    """Margins up to this one teach nothing."""
    scale: float = 0.2
    """The margin that has weight 1."""
    cap: float = 2.0
    """Largest weight of a margin."""
    action_weight: float = 2.0
    """Factor at tokens of an action."""
    top_k: int = 32
    """Tokens of the teacher's distribution that are compared."""
    discount: float = 0.95
    """What a reward one turn later is worth where answers are compared."""
    kept: int = 2
    """Extra samples of one observation, at most."""
    share: float = 0.5
    """The share of each group's episodes that play with skills."""
    entropy_coef: Coef = 0.0
    """Weight of the entropy bonus; 0 leaves it out, with its `entropy` stream."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef", "beta", "least", "cap", "action_weight")
        check_range(self, 1e-9, math.inf, "scale")
        check_range(self, 1, math.inf, "top_k", "kept")
        check_range(self, 0.0, 1.0, "share", "discount")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the teacher's distribution, and what tokens are a part of."""
        return super().needs | {Stream.TEACHER, Stream.TEACHER_TOP, Stream.SPAN}

    @property
    def teacher_tokens(self) -> int:
        """See `Objective.teacher_tokens`."""
        return self.top_k

    @property
    def skilled_share(self) -> float:
        """See `Objective.skilled_share`."""
        return self.share

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO on the episodes, distillation on the extra samples."""
        own, extra = x.own, x.extra
        policy_BT, metrics = self.policy_term(own, own.adv_BT)
        weight_BT = self.weights(extra)
        distil_BT = masked(weight_BT * self.distance(extra), extra.taught_BT)
        metrics |= {
            "ucob/weight_mean": weighted(weight_BT, extra.taught_BT),
            "ucob/distance": weighted(distil_BT, extra.taught_BT),
        }
        coef = self.at(self.coef, x)
        return LossOutput(self.reduce(policy_BT, own) + coef * self.reduce(distil_BT, extra), metrics)

    def weights(self, extra: LossInputs) -> Tensor:
        """What scales the divergence of each token of extra samples, without gradient."""
        gap_BT = (extra.stream(Stream.TEACHER) - extra.logp_BT).detach()
        gate_BT = (self.at(self.beta, extra) * gap_BT).sigmoid()
        action_BT = extra.stream(Stream.SPAN) == Span.ACTION
        factor_BT = 1 + (self.action_weight - 1) * action_BT.to(gap_BT.dtype)
        if extra.weight_BT is None:
            return masked(gate_BT, extra.taught_BT)
        margin_BT = extra.weight_BT
        counted_BT = masked((margin_BT / self.scale).clamp(max=self.cap), margin_BT > self.least)
        return masked(counted_BT * factor_BT * gate_BT, extra.taught_BT)

    def distance(self, extra: LossInputs) -> Tensor:
        """KL(teacher || student) among the teacher's likeliest tokens, the bucket of all others left out."""
        return forward_kl(*(top_BTK[..., :-1].log_softmax(-1) for top_BTK in extra.tops))
