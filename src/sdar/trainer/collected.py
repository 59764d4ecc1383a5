"""Samples out of texts that a run had written, for supervised learning before another run."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from sdar.errors import ConfigError, DataError
from sdar.model.chat import Chat
from sdar.rollout.samples import Sample
from sdar.runs.texts import read_texts
from sdar.types import Message, StopReason


def collected(file: Path, chat: Chat, end: int, context_length: int, seed: int) -> Iterator[Sample]:
    """Every whole text of a texts.jsonl as an answer to its question, epoch by epoch in a new order.

    `end` is the token that ends an answer. Texts that were cut are left out. Raises `ConfigError` when none
    is left, or one exceeds the context.
    """
    if not file.is_file():
        raise ConfigError(f"--texts: there is no file {file}")
    samples = []
    for number, record in enumerate(read_texts(file), 1):
        try:
            whole = record["end"] == StopReason.STOP
            messages = [Message(message["role"], message["content"]) for message in record["messages"]]
            answer = (*chat.encode(record["text"]), end)
        except (KeyError, TypeError) as error:
            raise DataError(f"{file}, line {number}, is no text of a run: it lacks {error}") from None
        sample = Sample.of_answer(chat.render(messages), answer)
        if whole and sample.length > context_length:
            raise ConfigError(
                f"{file}, line {number}, has {sample.length} tokens, and the context is {context_length}"
            )
        samples += [sample] if whole else []
    if not samples:
        raise ConfigError(f"--texts: {file} has no text that ends by itself")
    return (
        samples[place]
        for epoch in count()
        for place in np.random.default_rng([seed, epoch]).permutation(len(samples))
    )
