"""Settings of rollouts. No torch."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from sdar.errors import ConfigError
from sdar.rollout.engines.settings import HF, EngineConfig, engines
from sdar.settings.values import check_least
from sdar.types import ContextMode


class Overflow(StrEnum):
    """What happens to a teacher's prompt over its budget or the context: an error, or no such teacher."""

    RAISE = "raise"
    DROP = "drop"


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How episodes are played."""

    context: ContextMode = ContextMode.TRANSCRIPT
    """One growing sequence an episode, or a prompt of its own for each turn (the paper's way)."""
    history: int = 2
    """Past turns that a window prompt repeats."""
    tasks_per_step: int = 8
    """Tasks of one training step."""
    group_size: int = 8
    """Episodes of one task."""
    temperature: float = 1.0
    """Sampling temperature, which is also that of the log-probs that are trained on."""
    max_tokens: int = 512
    """Tokens of one completion."""
    max_live: int = 256
    """Episodes of a rank that are played side by side, and sequences that its engine keeps; later ones start
    as earlier ones end."""
    engine: Annotated[EngineConfig, engines] = field(default_factory=HF)
    """What generates; `--rollout.engine NAME` chooses, `sdar list engines` names them."""

    def __post_init__(self) -> None:
        least = {"history": 0, "tasks_per_step": 1, "group_size": 1, "max_tokens": 1, "max_live": 1}
        check_least(self, "rollout", **least)
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"rollout.temperature must be above 0, not {self.temperature}")
