"""BCSD: a teacher told how to use the student's skills, and one that lacks some of them, scale advantages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from sdar.objectives.base import Credit, PolicyGradient, StepInputs, Stream, check_range, objectives
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef
from sdar.settings.values import check_choices

if TYPE_CHECKING:
    from torch import Tensor


class Pruned(StrEnum):
    """What the pruned teacher's gap says."""

    GAIN = "gain"
    """How much likelier the token is without the skills that were cut: pruned - old."""
    LOSS = "loss"
    """How much likelier it is with them: old - pruned."""


class Form(StrEnum):
    """How a gap becomes a number in [-1, 1], of the gap's sign."""

    TANH = "tanh"
    """tanh(gap / 2)."""
    CLIP = "clip"
    """The gap, cut at -1 and 1."""


@objectives.register("bcsd")
@dataclass(frozen=True, kw_only=True)
class BCSD(PolicyGradient):
    """GRPO for a student that sees the skills itself, its advantage scaled by two other views of them.

        A_t = A * (1 + lam * f(sign(A) * d_t)),    d_t = alpha * (augmented - old)_t + (1 - alpha) * p_t
        p_t = (pruned - old)_t, or its negative;   f: tanh(d / 2), or d cut at -1 and 1

    `augmented` has read the student's prompt and a meta-skill, how to use its skills, that contrasts a
    success with a failure (stage `write-meta-skill`). `pruned` has the prompt with fewer general skills and
    all those of the task. A teacher that is absent adds nothing. As lam and f are at most 1, no advantage
    changes its sign. Nothing here carries gradient. With lam 0 this is `skill-grpo`.

    Source: a summary of BCSD, arXiv 2608.09555, not verified: skills in the student's prompt, in training and
    at test time; the two views; the weighted sum of their gaps with alpha; the shape of the scaled advantage,
    which keeps its direction; lam, which falls linearly to 0. No code was to be had.

    Differences from the paper: not known in full. The summary gives neither the sign and form of p (setting
    `pruned`) nor f (`form`): the choices and defaults are ours. So is that gaps are measured to the
    behaviour policy, and that half of the general skills stay, rounded down, by name (with the built-in
    banks, which have one, none). A meta-skill is written anew in each step, for each kind of task with a
    success and a failure, where the paper renews it at each validation; the question is in words of our own.
    """

    student_skills: ClassVar[bool] = True
    views: ClassVar[tuple[str, ...]] = ("meta-skill", "pruned-skills")
    stages: ClassVar[tuple[str, ...]] = ("write-meta-skill",)

    lam: Coef = "linear:0.1:0"
    """How far the gaps move an advantage, between 0 and 1."""
    alpha: float = 0.9
    """Weight of the augmented teacher's gap; the pruned one's has the rest."""
    pruned: Pruned = Pruned.GAIN
    """Sign of the pruned teacher's gap: gain (pruned - old) or loss (old - pruned)."""
    form: Form = Form.TANH
    """How the sum of the gaps is bounded: tanh or clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, 1.0, "lam", "alpha")
        check_choices(self, "objective", pruned=Pruned, form=Form)

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teachers."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def credit(self, x: StepInputs) -> Credit:
        """Advantages scaled by both gaps."""
        (augmented_M, told_M), (pruned_M, cut_M) = x.teacher(0), x.teacher(1)
        old_M = x.stream(Stream.OLD)
        augmented_M, pruned_M = masked(augmented_M - old_M, told_M), masked(pruned_M - old_M, cut_M)
        sign = 1 if self.pruned is Pruned.GAIN else -1
        gap_M = self.alpha * augmented_M + (1 - self.alpha) * sign * pruned_M
        scale_M = 1 + self.at(self.lam, x) * self.bounded(x.adv_M.sign() * gap_M)
        metrics = {
            "bcsd/augmented_gap": weighted(augmented_M, told_M),
            "bcsd/pruned_gap": weighted(pruned_M, cut_M),
            "bcsd/weight_mean": weighted(scale_M, told_M | cut_M),
        }
        return Credit(x.adv_M * scale_M, metrics)

    def bounded(self, gap_M: Tensor) -> Tensor:
        """The function f."""
        return (gap_M / 2).tanh() if self.form is Form.TANH else gap_M.clamp(-1, 1)
