"""An engine that answers from a Python function: for tests, and to play scripted policies."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from sdar.errors import ContextOverflow
from sdar.rollout.engine import Request, Sampling
from sdar.types import Completion, StopReason


class ScriptedEngine:
    """An `Engine` whose completions are the tokens of `reply(prompt text)` and the end-of-turn token.

    Log-probs are 0.0: a script has no doubts. It counts what is asked of it.
    """

    def __init__(
        self,
        reply: Callable[[str], str],
        tokenizer: PreTrainedTokenizerBase,
        *,
        end_id: int | None = None,
        context_length: int = 4096,
    ) -> None:
        """`reply` sees the prompt with its special tokens; `end_id` is by default the tokenizer's eos."""
        self.context_length = context_length
        self.calls = 0
        """Times that `generate` was called."""
        self.requests: list[Request] = []
        """All that was asked, in order."""
        self.open_sessions: set[Hashable] = set()
        """Sessions that were not released."""
        self.num_loads = 0
        """Times that weights were loaded."""
        self._reply, self._tokenizer = reply, tokenizer
        self._end = tokenizer.eos_token_id if end_id is None else end_id

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """See `Engine.generate`."""
        self.calls += 1
        self.requests += requests
        self.open_sessions |= {request.session for request in requests if request.session is not None}
        return [self._answer(request, sampling) for request in requests]

    def _answer(self, request: Request, sampling: Sampling) -> Completion:
        prompt = list(request.tokens)
        room = self.context_length - len(prompt)
        if room < 1:
            raise ContextOverflow(
                f"a prompt of {len(prompt)} tokens leaves no room in a context of {self.context_length}"
            )
        text = self._reply(str(self._tokenizer.decode(prompt)))
        whole = [*self._tokenizer.encode(text, add_special_tokens=False), self._end]
        tokens = tuple(whole[: min(room, sampling.max_tokens)])
        reason = StopReason.STOP if len(tokens) == len(whole) else StopReason.LENGTH
        return Completion(tokens, (0.0,) * len(tokens), reason)

    def release(self, sessions: Iterable[Hashable]) -> None:
        """See `Engine.release`."""
        self.open_sessions -= set(sessions)

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """See `Engine.load_weights`; there are none to change."""
        self.num_loads += 1
