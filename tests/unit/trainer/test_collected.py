"""Texts of a run as samples for supervised learning."""

import json
from itertools import islice
from pathlib import Path

import pytest
from tests.tiny import tiny_tokenizer

from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.trainer.collected import collected
from sdar.types import Message

CHAT, END = Chat(tiny_tokenizer()), tiny_tokenizer().eos_token_id


def write(path: Path, *texts: tuple[str, str]) -> Path:
    records = [{"messages": [{"role": "user", "content": "why?"}], "text": t, "end": e} for t, e in texts]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_whole_texts_are_answers_in_a_new_order_each_epoch(tmp_path: Path) -> None:
    file = write(
        tmp_path / "texts.jsonl", ("one", "stop"), ("cut", "length"), ("two", "stop"), ("six", "stop")
    )
    samples = list(islice(collected(file, CHAT, END, 200, seed=1), 12))
    epochs = [[CHAT.decode(s.body) for s in samples[i : i + 3]] for i in range(0, 12, 3)]
    assert all(sorted(epoch) == ["one", "six", "two"] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert list(samples[0].prompt) == CHAT.render([Message("user", "why?")])
    assert samples[0].body[-1] == END


def test_what_cannot_be_learned_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no text that ends by itself"):
        collected(write(tmp_path / "a", ("cut", "length")), CHAT, END, 200, seed=0)
    with pytest.raises(ConfigError, match=r"line 1, has \d+ tokens, and the context is 5"):
        collected(write(tmp_path / "b", ("one", "stop")), CHAT, END, 5, seed=0)
    with pytest.raises(ConfigError, match="there is no file"):
        collected(tmp_path / "c", CHAT, END, 200, seed=0)
