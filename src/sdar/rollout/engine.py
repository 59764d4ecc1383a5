"""The seam between rollouts and whatever generates tokens."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sdar.types import Completion


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn."""

    temperature: float = 1.0
    """0 is greedy; log-probs are always those of the tempered distribution (greedy: of temperature 1)."""
    max_tokens: int = 512
    """Tokens of one completion, the end-of-turn token included."""


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to draw.

    `tokens` is the whole prompt. `seed` alone decides the random numbers, so a completion does not depend on
    what else is in the batch. Requests with the same `session` extend one another: an engine may keep its
    cache for the part it has seen.
    """

    tokens: Sequence[int]
    seed: int
    session: Hashable | None = None


class Engine(Protocol):
    """Draws completions for token prompts."""

    context_length: int
    """Largest prompt plus completion, in tokens."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion for each request, in order.

        A prompt that leaves no room raises `ContextOverflow`.
        """

    def release(self, sessions: Iterable[Hashable]) -> None:
        """Forget these sessions and free what was kept for them."""

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """Take over new policy weights (parameter name -> full tensor); kept caches are dropped."""
