"""Settings of rollouts. No torch."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from sdar.errors import ConfigError
from sdar.rollout.engines.settings import HF, EngineConfig, engines
from sdar.settings.values import check_address, check_choices, check_least
from sdar.types import ContextMode


class Overflow(StrEnum):
    """What happens to a teacher's prompt over its budget or the context: an error, or no such teacher."""

    RAISE = "raise"
    DROP = "drop"


class LongPrompt(StrEnum):
    """What happens at a prompt of more than `max_prompt` tokens."""

    END = "end"
    """The episode ends, or it is an error where no turn was played."""
    ERROR = "error"
    """The run ends."""
    CUT = "cut"
    """Its first tokens are cut off."""


@dataclass(frozen=True, kw_only=True)
class WriterConfig:
    """Who writes the texts that stages ask for, and how."""

    base_url: str = ""
    """Address of a chat endpoint, up to and without `/chat/completions`; empty: the policy writes. A key is
    read from the environment variable OPENAI_API_KEY."""
    model: str = ""
    """The endpoint's name of the model."""
    temperature: float = 1.0
    """Of the sampling; 0 is greedy."""
    max_tokens: int = 512
    """Tokens of one text."""
    concurrency: int = 16
    """Requests to the endpoint at a time."""
    timeout: float = 120.0
    """Seconds without an answer after which a request is given up and tried again."""
    retries: int = 5
    """Times that a request is tried again when the endpoint is busy or does not answer."""
    replay: str = ""
    """A texts.jsonl of another run: what it holds is not asked for again."""

    def __post_init__(self) -> None:
        check_least(self, "writer", temperature=0, max_tokens=1, concurrency=1, retries=0)
        if self.timeout <= 0:
            raise ConfigError(f"writer.timeout must be above 0, not {self.timeout}")
        if bool(self.base_url) != bool(self.model):
            raise ConfigError(
                "writer.base_url and writer.model name an endpoint together: give both, or none"
            )
        if self.base_url:
            check_address("writer.base_url", self.base_url)


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How episodes are played."""

    context: ContextMode = ContextMode.TRANSCRIPT
    """One growing sequence an episode, or a prompt of its own for each turn (the paper's way)."""
    history: int = 2
    """Past turns that a window prompt repeats."""
    max_prompt: int = 0
    """Tokens of the player's prompt; 0: as many as its context has room for."""
    long_prompt: LongPrompt = LongPrompt.END
    """At a longer one the episode ends, the run ends with an error, or its first tokens are cut off."""
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
        least = {
            "history": 0,
            "max_prompt": 0,
            "tasks_per_step": 1,
            "group_size": 1,
            "max_tokens": 1,
            "max_live": 1,
        }
        check_least(self, "rollout", **least)
        check_choices(self, "rollout", long_prompt=LongPrompt)
        if self.long_prompt is LongPrompt.CUT and self.context is ContextMode.TRANSCRIPT:
            raise ConfigError(
                "rollout.long_prompt 'cut' would cut what was played: set it to end or error, "
                "or rollout.context to window"
            )
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"rollout.temperature must be above 0, not {self.temperature}")
