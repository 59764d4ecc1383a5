"""Texts that stages ask for: written by the policy itself or by an endpoint, once, and kept by content.

An ask's key is made of all that the text follows from, so that a run that goes on, or one that is done again
with `writer.replay`, gets the texts that it got before. The seed is made of the key.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sdar.errors import DataError
from sdar.model.chat import Chat
from sdar.rollout.attempts import Ranks, work_together
from sdar.rollout.endpoint import ChatEndpoint, PromptTooLong
from sdar.rollout.engine import Engine, Request, Sampling
from sdar.rollout.settings import WriterConfig
from sdar.rollout.stages import Ask
from sdar.runs.rundir import RunDir
from sdar.runs.texts import add_texts, read_texts


class Written(NamedTuple):
    """A text and how it ended: stop, length, or overflow, where the question left it no room."""

    text: str
    end: str


OVERFLOW = Written("", "overflow")


class Author(Protocol):
    """Who writes."""

    @property
    def name(self) -> str:
        """Who it is, as a part of keys; empty: the policy, which is another one at each step."""

    def write(self, asks: Sequence[tuple[Ask, int]], sampling: Sampling) -> list[Written]:
        """A text for each ask and seed."""


@dataclass(frozen=True)
class PolicyAuthor:
    """The policy under the rollout engine, with the weights of the start of the step."""

    engine: Engine
    chat: Chat
    name: str = ""

    def write(self, asks: Sequence[tuple[Ask, int]], sampling: Sampling) -> list[Written]:
        """See `Author`."""
        prompts = [self.chat.render(ask.messages) for ask, _ in asks]
        fits = [len(prompt) < self.engine.context_length for prompt in prompts]
        asked = zip(asks, prompts, fits, strict=True)
        requests = [Request(tuple(prompt), seed) for (_, seed), prompt, fit in asked if fit]
        done = iter(self.engine.generate(requests, sampling))
        written = []
        for fit in fits:
            if fit:
                completion = next(done)
                text = self.chat.decode(completion.tokens)
                written.append(Written(text, completion.stop_reason.value))
            else:
                written.append(OVERFLOW)
        return written


@dataclass(frozen=True)
class EndpointAuthor:
    """A chat endpoint."""

    endpoint: ChatEndpoint

    @property
    def name(self) -> str:
        """The endpoint's model."""
        return self.endpoint.config.model

    def write(self, asks: Sequence[tuple[Ask, int]], sampling: Sampling) -> list[Written]:
        """See `Author`."""

        def one(asked: tuple[Ask, int]) -> Written:
            try:
                text, record = self.endpoint.complete(asked[0].messages, sampling, asked[1])
            except PromptTooLong:
                return OVERFLOW
            return Written(text, record.stop_reason.value)

        with ThreadPoolExecutor(self.endpoint.config.concurrency) as threads:
            return list(threads.map(one, asks))


@dataclass(kw_only=True)
class Writing:
    """The texts of a run. The methods are collective: every rank asks for the same and gets the same."""

    author: Author
    config: WriterConfig
    run: RunDir
    ranks: Ranks
    seed: int
    _kept: dict[str, Written] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ranks.rank == 0:
            files = [self.run.texts_file, *([Path(self.config.replay)] if self.config.replay else [])]
            for record in (record for file in files for record in read_texts(file)):
                try:
                    self._kept.setdefault(record["key"], Written(record["text"], record["end"]))
                except KeyError as error:
                    raise DataError(
                        f"a text in {self.run.texts_file} or writer.replay lacks {error}"
                    ) from None

    @property
    def sampling(self) -> Sampling:
        """How texts are drawn."""
        return Sampling(temperature=self.config.temperature, max_tokens=self.config.max_tokens)

    def key(self, ask: Ask, step: int) -> str:
        """What the text follows from, as a hash."""
        messages = [asdict(message) for message in ask.messages]
        author = self.author.name or f"policy {self.seed} {step}"
        parts = [author, asdict(self.sampling), messages]
        return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def write(self, asks: Sequence[Ask], step: int, count: Callable[[str], None]) -> list[str]:
        """A text for each ask, in order; empty for one that is too long. `count` hears how each ended."""
        keys = [self.key(ask, step) for ask in asks]
        by_key = dict(zip(keys, asks, strict=True))
        found = self.ranks.gather({key: self._kept[key] for key in by_key if key in self._kept})[0]
        missing = [(ask, key) for key, ask in by_key.items() if key not in found]
        seeded = [(ask, int(key[:15], 16)) for ask, key in missing]
        written = work_together(seeded, lambda mine: self.author.write(mine, self.sampling), self.ranks)
        new = {key: text for (_, key), text in zip(missing, written, strict=True)}
        if self.ranks.rank == 0 and new:
            self._kept |= new
            add_texts(self.run, [self._record(key, by_key[key], text, step) for key, text in new.items()])
        for text in (found | new).values():
            count(text.end)
        return [(found | new)[key].text for key in keys]

    def _record(self, key: str, ask: Ask, written: Written, step: int) -> Mapping[str, Any]:
        return {
            "key": key,
            "step": step,
            "about": ask.about,
            "by": self.author.name or "policy",
            "messages": [asdict(message) for message in ask.messages],
            "text": written.text,
            "end": written.end,
        }
