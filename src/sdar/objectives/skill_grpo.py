"""Skill-GRPO: GRPO with the skills in the student's own context."""

from dataclasses import dataclass
from typing import ClassVar

from sdar.objectives.base import PolicyGradient, objectives


@objectives.register("skill-grpo")
@dataclass(frozen=True, kw_only=True)
class SkillGRPO(PolicyGradient):
    """GRPO for a student that sees the skills, in training and at test time.

    The loss is that of `grpo`; `student_skills` tells the rollout to put the skills into the student's
    messages.

    Source: the Skill-GRPO baseline of arXiv 2605.15155.

    Differences from the published code: skills are chosen by task kind like the teacher's of the other
    objectives, where the code matches keywords in the observation, which finds only the general skills on
    Search-QA. The rule `keyword-published` reads the whole prompt.
    """

    student_skills: ClassVar[bool] = True
