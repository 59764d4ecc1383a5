"""SEED: the policy writes a skill about each finished episode, and with it is its own teacher."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from sdar.objectives.base import LossInputs, LossOutput, PolicyGradient, Stream, check_range, objectives
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef


@objectives.register("seed")
@dataclass(frozen=True, kw_only=True)
class SEED(PolicyGradient):
    """GRPO plus gated distillation from the policy that has read its own skill about the episode.

        L = L_GRPO + coef * sum_t [ sg(sigmoid(beta * (teacher - logp))) (teacher - logp) ] / tokens

    The loss is that of `sdar`. The skill is written after the episode (stage `write-skill`); an episode whose
    text has not the form that was asked for has no teacher, and so GRPO alone.

    Source: SEED, arXiv 2607.14777; coef and beta as there. Its first stage teaches the model to write skills
    from texts of an analyser: `sdar warm-start --texts FILE`.

    Differences from the paper: the question for a skill is in words of our own, its prompts were not to be
    had.
    """

    views: ClassVar[tuple[str, ...]] = ("own-skill",)
    stages: ClassVar[tuple[str, ...]] = ("write-skill",)

    coef: Coef = 0.01
    """Weight of the gated distillation term."""
    beta: Coef = 5.0
    """Slope of the gate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "coef", "beta")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, and the teacher."""
        return super().needs | {Stream.TEACHER}

    def loss(self, x: LossInputs) -> LossOutput:
        """GRPO plus the gated likelihood."""
        policy_BT, metrics = self.policy_term(x, x.adv_BT)
        gap_BT = x.stream(Stream.TEACHER) - x.logp_BT
        gate_BT = (self.at(self.beta, x) * gap_BT.detach()).sigmoid()
        metrics |= {
            "teacher/gap_mean": weighted(gap_BT, x.taught_BT),
            "seed/gate_mean": weighted(gate_BT, x.taught_BT),
        }
        distil_BT = masked(gate_BT * gap_BT, x.taught_BT)
        loss = self.reduce(policy_BT + self.at(self.coef, x) * distil_BT, x)
        return LossOutput(loss, metrics, {"gate": masked(gate_BT, x.taught_BT)})
