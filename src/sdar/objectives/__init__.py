"""Named algorithms, one a file, and the advantages they start from. None knows another, or the trainer.

`objectives` in `base` finds them by name.
"""

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
    "objectives",
]
