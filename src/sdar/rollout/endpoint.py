"""A chat endpoint that speaks the OpenAI chat-completions API, and episodes played by it, in messages.

The key comes from the environment, goes into one header, and is kept out of every message and record.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from sdar.envs.base import EnvSpec
from sdar.errors import ConfigError, ContextOverflow, DataError
from sdar.rollout.agent import Dialogue
from sdar.rollout.collector import Answer, Player
from sdar.rollout.engine import Sampling
from sdar.rollout.settings import RolloutConfig
from sdar.settings.values import check_address
from sdar.skills.context import SkillContext
from sdar.text.web import Reply, Web, WebError
from sdar.types import Completion, EndReason, Message, Step, StopReason, Task

KEY = "OPENAI_API_KEY"
"""The environment variable that holds the key; servers that need none take it unset."""
_BUSY = {408, 409, 429, 500, 502, 503, 504, 529}
_LONGEST_WAIT = 60.0
_SHOWN = 1000
_SHORT_WAIT = 0.01
"""Seconds after which environments that were waited for are looked at again."""


class PromptTooLong(Exception):
    """The endpoint says that a conversation does not fit its context."""


@dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """Where the endpoint is and how it is asked."""

    model: str
    """The endpoint's name of the model."""
    base_url: str
    """Up to and without `/chat/completions`."""
    concurrency: int
    """Requests at a time."""
    timeout: float
    """Seconds without an answer after which a request is given up and tried again."""
    retries: int
    """Times that a request is tried again when the endpoint is busy or does not answer."""

    def __post_init__(self) -> None:
        check_address("--base-url", self.base_url)
        if self.concurrency < 1 or self.timeout <= 0 or self.retries < 0:
            raise ConfigError(
                "--concurrency must be at least 1, --timeout above 0, and --retries not negative"
            )


class ChatEndpoint:
    """Asks for completions, several at a time, again where the endpoint is busy."""

    def __init__(self, config: EndpointConfig, key: str = "", pause: Callable[[float], None] = time.sleep):
        """`pause` waits so many seconds. Raises `ConfigError` for a key that no header can carry."""
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(f"{KEY} holds characters that a key cannot have")
        self.config, self._key, self._pause = config, key, pause
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._web = Web(seconds=config.timeout, connections=config.concurrency, headers=headers)
        self._url = f"{config.base_url.rstrip('/')}/chat/completions"

    def complete(self, messages: Sequence[Message], sampling: Sampling, seed: int) -> tuple[str, Completion]:
        """The text of one answer, and its record, which has a count in place of tokens.

        Raises `PromptTooLong`, `ConfigError` (address, key or model), or `DataError` (any other failure).
        """
        answer = self._post(
            {
                "model": self.config.model,
                "messages": [{"role": message.role, "content": message.content} for message in messages],
                "temperature": sampling.temperature,
                "max_tokens": sampling.max_tokens,
                "seed": seed % 2**31,
            }
        )
        try:
            choice = answer["choices"][0]
            text, tokens = choice["message"]["content"] or "", answer["usage"]["completion_tokens"]
            cut = choice.get("finish_reason") == "length"
        except (AttributeError, KeyError, IndexError, TypeError):
            text, tokens = None, None
        if not isinstance(text, str) or type(tokens) is not int or tokens < 0:
            shown = self._safe(str(answer)[:_SHOWN])
            raise DataError(f"{self._url} gave no chat completion with its usage: {shown}")
        text = text.encode("utf-8", "replace").decode()
        return text, Completion((), (), StopReason.LENGTH if cut else StopReason.STOP, hidden=tokens)

    def _post(self, body: dict[str, Any]) -> Any:
        """The answer to `body`; waits and tries again while the endpoint is busy or cannot be reached."""
        for attempt in range(self.config.retries + 1):
            wait = random.uniform(0.5, 1) * min(2**attempt, _LONGEST_WAIT)
            try:
                response = self._web.post(self._url, body)
            except WebError as error:
                problem = f"{self._url} cannot be reached: {self._safe(str(error))}"
            else:
                if response.status not in _BUSY:
                    return self._read(response)
                problem = f"{self._url} is busy: {self._said(response)}"
                wait = max(wait, _retry_after(response))
            if attempt < self.config.retries:
                self._pause(wait)
        raise DataError(f"{problem} (tried {self.config.retries + 1} times)")

    def _read(self, response: Reply) -> Any:
        status = response.status
        if status in (401, 403):
            given = "the key in" if self._key else "a request without a key: set"
            raise ConfigError(f"{self._url} refuses {given} {KEY}: {self._said(response)}")
        if status == 404:
            model = self.config.model
            raise ConfigError(f"{self._url} is not there, or has no model '{model}': {self._said(response)}")
        if status == 400 and "context" in response.text and "length" in response.text:
            raise PromptTooLong(self._said(response))
        if not 200 <= status < 300:
            raise DataError(f"{self._url} refuses the request: {self._said(response)}")
        try:
            return response.json()
        except ValueError:
            raise DataError(f"{self._url} gave no JSON: {self._safe(response.text)}") from None

    def _said(self, response: Reply) -> str:
        return f"{response.status} {self._safe(response.text)}".strip()

    def _safe(self, text: str) -> str:
        """The beginning of a text from outside on one line, without the key."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:300]


def _retry_after(response: Reply) -> float:
    """Seconds that the endpoint asks for; 0 when it gives none, or a date."""
    try:
        return min(float(response.headers.get("retry-after", 0)), _LONGEST_WAIT)
    except ValueError:
        return 0.0


class EndpointCollector(Player[Dialogue]):
    """Plays tasks with a chat endpoint; its trajectories have texts and counts of tokens."""

    def __init__(
        self,
        spec: EnvSpec,
        endpoint: ChatEndpoint,
        config: RolloutConfig,
        skills: SkillContext | None = None,
    ) -> None:
        """`skills` are shown to the player itself."""
        super().__init__(spec, config, skills)
        self.endpoint = endpoint
        self._threads = ThreadPoolExecutor(endpoint.config.concurrency)
        self._asked: dict[Future[Answer], Dialogue] = {}

    def _start(self, task: Task, index: int) -> Dialogue:
        return Dialogue(
            self.spec.make(),
            task,
            index,
            prompts=self.spec.prompts(),
            context=self.config.context,
            history=self.config.history,
            skills=self.skills,
        )

    def _ask(self, episodes: Sequence[Dialogue], seed: int, sampling: Sampling) -> None:
        for dialogue in episodes:
            question = dialogue.conversation, sampling, dialogue.turn_seed(seed)
            self._asked[self._threads.submit(self.endpoint.complete, *question)] = dialogue

    def _hear(self, at_once: bool) -> list[tuple[Dialogue, Answer | None]]:
        done, _ = wait(self._asked, _SHORT_WAIT if at_once else None, FIRST_COMPLETED)
        heard: list[tuple[Dialogue, Answer | None]] = []
        for future in [future for future in self._asked if future in done]:
            dialogue = self._asked.pop(future)
            try:
                heard.append((dialogue, future.result()))
            except PromptTooLong as error:
                self._end(dialogue, f"does not fit the endpoint's context: {error}")
                heard.append((dialogue, None))
        return heard

    def _end(self, dialogue: Dialogue, reason: str) -> None:
        """Let a dialogue end whose prompt is too long."""
        try:
            dialogue.overflow(reason)
        except ContextOverflow as error:
            dialogue.end, self._problems[dialogue.task.id] = EndReason.OVERLONG, str(error)

    def _take(self, episode: Dialogue, answer: Answer, step: Step) -> None:
        episode.record(*answer, step)

    def _forget(self, episodes: Iterable[Dialogue]) -> None:
        """An endpoint keeps nothing, and what it was asked is dropped."""
        if any(not episode.end for episode in episodes):
            for future in self._asked:
                future.cancel()
            self._asked = {}
