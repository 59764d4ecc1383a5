"""The seam between rollouts and whatever generates tokens: a stream of requests in and completions out."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sdar.errors import ContextOverflow
from sdar.types import Completion

if TYPE_CHECKING:
    from torch import Tensor

Bucket: TypeAlias = "Sequence[tuple[str, Tensor]]"
"""Some weights: (name in the checkpoint, tensor). One that is larger than a bucket comes in parts, which are
runs of its rows in order. Tied names stand side by side, with one tensor."""


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
    what else is asked, nor on when. Requests with the same `session` extend one another: an engine may keep
    its cache for the part it has seen.
    """

    tokens: Sequence[int]
    seed: int
    session: Hashable | None = None


class Engine(Protocol):
    """Draws completions for token prompts. Nothing of it runs but inside its methods."""

    context_length: int
    """Largest prompt plus completion, in tokens."""
    dtype: str
    """What the weights are kept in, as torch names it: "float32" or "bfloat16"."""

    @property
    def patience(self) -> float | None:
        """Seconds until `step` must be called though this rank has asked nothing; None: it need not be.

        An engine that several ranks share works only while each of them steps.
        """
        return None

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[int]:
        """Take requests in, at any time; the ticket of each, a number that this engine never gave before.

        A prompt that leaves no room raises `ContextOverflow`, a session that has an unfinished request
        `ValueError`; then none of the requests is taken.
        """

    def step(self) -> list[tuple[int, Completion]]:
        """Work for about one token of every completion; (ticket, completion) of those that have ended.

        Empty while none has ended, and at once when nothing was asked.
        """

    def settle(self) -> None:
        """Ask for nothing more for now; returns when all ranks that share the engine have come to this.

        Each time that they generate, each rank settles once, also one that had nothing to ask. None of its
        requests is unfinished then.
        """
        return  # most engines serve one rank

    def abort(self) -> None:
        """Forget all requests that have not ended. The engine is as usable as before."""

    def release(self, sessions: Iterable[Hashable]) -> None:
        """Forget these sessions and free what was kept for them; none of them has an unfinished request."""

    def update_weights(self, buckets: Iterable[Bucket]) -> None:
        """Take over new weights, all of them, in the engine's `dtype`; kept caches are dropped.

        Tensors do not change while this runs. `ConfigError` for another model's weights.
        """

    def sleep(self) -> None:
        """Give back memory until the next `wake`, while the policy trains. Idle engines only."""

    def wake(self) -> None:
        """Be usable again. The weights are those of the next `update_weights`, which follows."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion for each request, in order; the engine is idle before, and settled after."""
        tickets = self.submit(requests, sampling)
        done: dict[int, Completion] = {}
        while len(done) < len(tickets):
            done |= dict(self.step())
        self.settle()
        return [done[ticket] for ticket in tickets]


def check_room(requests: Iterable[Request], context_length: int) -> None:
    """Raise `ContextOverflow` for a prompt that leaves no room for a token."""
    longest = max((len(request.tokens) for request in requests), default=0)
    if longest >= context_length:
        raise ContextOverflow(f"a prompt of {longest} tokens leaves no room in a context of {context_length}")
