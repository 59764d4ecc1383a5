"""Named algorithms, one a file. Importing this package registers the built-in ones."""

from sdar.objectives import grpo, grpo_opsd, ocsd, opsd, pcsd, rlsd, sdar, skill_grpo, skill_sd, step_opsd
from sdar.objectives.base import (
    LossInputs,
    LossOutput,
    Objective,
    PolicyGradient,
    Stream,
    objectives,
)
from sdar.ops.reduce import Denominators, WeightedSum

__all__ = [
    "Denominators",
    "LossInputs",
    "LossOutput",
    "Objective",
    "PolicyGradient",
    "Stream",
    "WeightedSum",
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
