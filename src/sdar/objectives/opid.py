"""OPID: two teachers that have read an analysis of the episode, as a small reward on each token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from sdar.objectives.base import Credit, PolicyGradient, StepInputs, Stream, check_range, objectives
from sdar.ops.reduce import masked, weighted
from sdar.settings.schedules import Coef


@objectives.register("opid")
@dataclass(frozen=True, kw_only=True)
class OPID(PolicyGradient):
    """GRPO whose advantage has the gap of a teacher added to it, who knows what mattered.

        A_t = A + episode_coef * (T_episode - old)_t    where the teacher has the skill of the episode
        A_t = A + step_coef * (T_step - old)_t          where the turn has a skill of its own

    The skills are in an analysis of the finished episode (stage `analyse`), by the policy or by the endpoint
    of the settings `writer`. Where that fails the advantage stays. Nothing here carries gradient.

    Source: OPID, arXiv 2606.26790, and its published code: routing, weights, no normalisation, no clip.

    Differences from the published code: both texts stand at the head of the first user message, where it puts
    the step's skill before the last instruction; it takes statistics over turns (advantage.statistics =
    "turn"), which a recipe must say here; in transcript mode an episode is one sample, and has the episode's
    skill alone.
    """

    views: ClassVar[tuple[str, ...]] = ("episode-skill", "step-skill")
    stages: ClassVar[tuple[str, ...]] = ("analyse",)

    episode_coef: Coef = 0.001
    """Weight of the gap to the teacher that has the episode's skill."""
    step_coef: Coef = 0.001
    """Weight of the gap to the teacher that has the turn's skill."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, 0.0, math.inf, "episode_coef", "step_coef")

    @property
    def needs(self) -> frozenset[Stream]:
        """What GRPO needs, the behaviour policy and the teachers."""
        return super().needs | {Stream.OLD, Stream.TEACHER}

    def credit(self, x: StepInputs) -> Credit:
        """Advantages with the gaps added."""
        adv_M, metrics = x.adv_M, {}
        for view, (name, coef) in enumerate([("episode", self.episode_coef), ("step", self.step_coef)]):
            teacher_M, taught_M = x.teacher(view)
            gap_M = masked(teacher_M - x.stream(Stream.OLD), taught_M)
            adv_M = adv_M + self.at(coef, x) * gap_M
            metrics[f"opid/{name}_gap"] = weighted(gap_M, taught_M)
            metrics[f"opid/{name}_share"] = weighted(taught_M.to(gap_M.dtype), taught_M | ~taught_M)
        return Credit(adv_M, metrics)
