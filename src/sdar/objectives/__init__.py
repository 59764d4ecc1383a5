"""Named algorithms, one a file. Importing this package registers the built-in ones."""

from sdar.objectives import (
    agent_opsd,
    grpo,
    grpo_opsd,
    ocsd,
    opsd,
    pcsd,
    rlsd,
    sdar,
    skill_grpo,
    skill_sd,
    step_opsd,
)
from sdar.objectives.base import (
    Credit,
    LossInputs,
    LossOutput,
    Objective,
    PolicyGradient,
    StepInputs,
    Stream,
    objectives,
)
from sdar.ops.reduce import Denominators, WeightedSum

__all__ = [
    "Credit",
    "Denominators",
    "LossInputs",
    "LossOutput",
    "Objective",
    "PolicyGradient",
    "StepInputs",
    "Stream",
    "WeightedSum",
    "agent_opsd",
    "grpo",
    "grpo_opsd",
    "objectives",
    "ocsd",
    "opsd",
    "pcsd",
    "rlsd",
    "sdar",
    "skill_grpo",
    "skill_sd",
    "step_opsd",
]
