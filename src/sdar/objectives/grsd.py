"""GRSD: a teacher that knows what tells a group's successes from its failures scales turns' advantages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sdar.objectives.base import Credit, PolicyGradient, StepInputs, Stream, check_range, objectives
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 20.0
"""A turn's mean gap counts up to this size."""
EPSILON = 1e-6
"""Added to a group's mean before dividing by it."""
FLOOR = 0.1
"""No advantage shrinks below this share of itself."""


@objectives.register("grsd")
@dataclass(frozen=True, kw_only=True)
class GRSD(PolicyGradient):
    """GRPO whose advantage is scaled turn by turn, by a teacher's gap as compared with the group's.

        d_i = mean over the tokens of turn i of (teacher - old)
        n_i = x_i / mean over the group's turns of |x|,    x_i = expm1(clip(sign(A_i) * d_i, -20, 20))
        A_i = A_i * max(0.1, 1 + lam * clip(n_i if |n_i| > threshold else 0, -bound, bound))

    It holds for groups with a success and a failure, whose teacher has a text; elsewhere this is GRPO.
    Nothing here carries gradient.

    Source: GRSD, arXiv 2607.28076, and its published code: modulation, threshold and lam; bound as in its
    launchers.

    Differences from the published code: the teacher reads the actions of a success and of a failure of the
    group as DO and AVOID (view `contrast`), where there the policy reflects on every episode and a frozen
    copy of it sums the reflections up (stage `reflect` with view `guidance` is that, but the policy itself
    sums up); there is no policy gradient on reflections (an option there).
    """

    views: ClassVar[tuple[str, ...]] = ("contrast",)

    lam: Coef = 0.5
    """How far a turn's gap moves its advantage."""
    threshold: float = 0.0
    """Normalised gaps of at most this size count as 0."""
    bound: float = 0.2
    """Normalised gaps are cut at this size."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "lam", "threshold", "bound")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teacher."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def credit(self, x: StepInputs) -> Credit:
        """Advantages scaled in groups that have both outcomes."""
        gap_M = x.stream(Stream.TEACHER) - x.stream(Stream.OLD)
        gap_EK, taught_EK = x.turn_mean(gap_M, x.taught_M)
        adv_EK = gap_EK.new_zeros(gap_EK.shape).index_put(x.place, x.adv_M)
        valid_EK = taught_EK & self.mixed(x)[:, None]
        value_EK = masked((adv_EK.sign() * gap_EK).clamp(-LARGEST, LARGEST).expm1(), valid_EK)
        groups = int(x.group_E.max()) + 1 if len(x.group_E) else 0
        zeros_G = value_EK.new_zeros(groups)
        size_G = zeros_G.index_add(0, x.group_E, value_EK.abs().sum(1))
        count_G = zeros_G.index_add(0, x.group_E, valid_EK.sum(1).to(zeros_G.dtype))
        mean_E1 = (size_G / count_G.clamp(min=1) + EPSILON)[x.group_E][:, None]
        normal_EK = value_EK / mean_E1
        guided_EK = masked(normal_EK, normal_EK.abs() > self.threshold).clamp(-self.bound, self.bound)
        weight_EK = (1 + self.at(self.lam, x) * guided_EK).clamp(min=FLOOR)
        metrics = {
            "teacher/gap_mean": weighted(gap_M, x.taught_M),
            "grsd/weight_mean": weighted(weight_EK, valid_EK),
            "grsd/valid": weighted(valid_EK.to(gap_M.dtype), x.played_EK),
        }
        return Credit(x.adv_M * weight_EK[x.place], metrics)

    def mixed(self, x: StepInputs) -> Tensor:
        """Whether the episode's group has a success and a failure [E]."""
        same_EE = x.group_E[:, None] == x.group_E
        won_E, lost_E = (same_EE & x.success_E).any(1), (same_EE & ~x.success_E).any(1)
        return won_E & lost_E
