"""An engine that answers from a Python function: for tests, and to play scripted policies."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import count

from transformers import PreTrainedTokenizerBase

from sdar.rollout.engine import Bucket, Engine, Request, Sampling, check_room
from sdar.types import Completion, StopReason


class ScriptedEngine(Engine):
    """An `Engine` whose completions are the tokens of `reply(prompt text)` and the end-of-turn token.

    Log-probs are 0.0: a script has no doubts. All completions end in the next step. It counts what is asked.
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
        self.context_length, self.dtype = context_length, "float32"
        self.calls = 0
        """Steps in which something was answered."""
        self.requests: list[Request] = []
        """All that was asked, in order."""
        self.open_sessions: set[Hashable] = set()
        """Sessions that were not released."""
        self.num_updates = 0
        """Times that weights were updated."""
        self.asleep = False
        self._unanswered: dict[int, tuple[Request, Sampling]] = {}
        self._tickets = count()
        self._reply, self._tokenizer = reply, tokenizer
        self._end = tokenizer.eos_token_id if end_id is None else end_id

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[int]:
        """See `Engine.submit`."""
        check_room(requests, self.context_length)
        self.requests += requests
        self.open_sessions |= {request.session for request in requests if request.session is not None}
        taken = {next(self._tickets): (request, sampling) for request in requests}
        self._unanswered |= taken
        return list(taken)

    def step(self) -> list[tuple[int, Completion]]:
        """See `Engine.step`."""
        asked, self._unanswered = self._unanswered, {}
        self.calls += bool(asked)
        return [(ticket, self._answer(*question)) for ticket, question in asked.items()]

    def _answer(self, request: Request, sampling: Sampling) -> Completion:
        prompt = list(request.tokens)
        text = self._reply(str(self._tokenizer.decode(prompt)))
        whole = [*self._tokenizer.encode(text, add_special_tokens=False), self._end]
        tokens = tuple(whole[: min(self.context_length - len(prompt), sampling.max_tokens)])
        reason = StopReason.STOP if len(tokens) == len(whole) else StopReason.LENGTH
        return Completion(tokens, (0.0,) * len(tokens), reason)

    def abort(self) -> None:
        """See `Engine.abort`."""
        self._unanswered = {}

    def release(self, sessions: Iterable[Hashable]) -> None:
        """See `Engine.release`."""
        self.open_sessions -= set(sessions)

    def update_weights(self, buckets: Iterable[Bucket]) -> None:
        """See `Engine.update_weights`; there are none to change."""
        for _ in buckets:
            pass
        self.num_updates += 1

    def sleep(self) -> None:
        """See `Engine.sleep`."""
        self.asleep = True

    def wake(self) -> None:
        """See `Engine.wake`."""
        self.asleep = False
