"""Messages to tokens and back: the only caller of the chat template.

A conversation is tokens. What the policy sampled is never turned into text and tokenised again: a prompt is
rendered once, and what follows a completion is rendered apart and put behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from sdar.errors import ConfigError
from sdar.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SENTINEL = "sdar-stands-for-a-completion"


class Chat:
    """A tokenizer with its chat template, thinking switched off where the template knows the switch.

    Raises `ConfigError` for a tokenizer without a template, or with one that has no generation prompt or no
    token at the end of a turn.
    """

    stop_ids: frozenset[int]
    """Tokens that end a completion: the template's end of turn, and the tokenizer's end of text."""
    pad_id: int
    """A token to fill rows with; its value means nothing."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._rendered = lru_cache(512)(self._render)
        self._continued = lru_cache(512)(self._continue)
        self._alone = lru_cache(1 << 16)(lambda token: self.verbatim([token]))
        if not tokenizer.chat_template:
            raise ConfigError(f"the tokenizer{self._name} has no chat template: use a chat model")
        probe = (Message("user", "x"),)
        plain, prompted = self._text(probe, prompt=False), self._text(probe)
        if plain == prompted or not prompted.startswith(plain):
            raise ConfigError(f"the chat template{self._name} has no generation prompt")
        self._end_of_turn = self._find_end_of_turn()
        ends = {self._end_of_turn, tokenizer.eos_token_id} - {None}
        self.stop_ids = frozenset(ends)
        self.pad_id = self._end_of_turn if tokenizer.pad_token_id is None else tokenizer.pad_token_id

    def render(self, messages: Sequence[Message]) -> list[int]:
        """The whole prompt: the messages, then the opening of the assistant's turn."""
        return list(self._rendered(tuple(messages)))

    def continuation(self, messages: Sequence[Message], closed: bool) -> list[int]:
        """The tokens between an assistant's completion and the next one, with `messages` in between.

        `closed` says that the completion already ends with its end-of-turn token; otherwise that comes first.
        The result does not depend on the conversation before, so a template that rewrites earlier turns, as
        Qwen3's does with thoughts, has no say over what was already sampled.
        """
        tokens = self._continued(tuple(messages))
        return list(tokens[1:] if closed else tokens)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a completion, without the token that ended it."""
        body = tokens[:-1] if tokens and tokens[-1] in self.stop_ids else tokens
        return str(self._tokenizer.decode(list(body), clean_up_tokenization_spaces=False))

    def verbatim(self, tokens: Sequence[int]) -> str:
        """The text of any tokens, with the special ones written out."""
        return str(self._tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token; joined, they are `verbatim`.

        A character that is spread over several tokens belongs to the last of them; the others are empty.
        """
        alone = [self._alone(token) for token in tokens]
        return alone if "".join(alone) == self.verbatim(tokens) else self._pieces(tokens)

    def _pieces(self, tokens: Sequence[int]) -> list[str]:
        """`pieces` where a token's text depends on its neighbours."""
        pieces: list[str] = []
        before: list[int] = []
        held: list[int] = []
        for number, token in enumerate(tokens, 1):
            held.append(token)
            text = self.verbatim(before + held).removeprefix(self.verbatim(before))
            whole = not text.endswith("\ufffd") or number == len(tokens)
            pieces.append(text if whole else "")
            if whole:
                before, held = held, []
        return pieces

    @property
    def _name(self) -> str:
        path = self._tokenizer.name_or_path
        return f" of {path}" if path else ""

    def _render(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        return self._encode(self._text(messages))

    def _continue(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        tokens = self._encode(self._after_sentinel(messages))
        if tokens[:1] != (self._end_of_turn,):
            raise ConfigError(f"the chat template{self._name} ends a turn differently in mid-conversation")
        return tokens

    def _find_end_of_turn(self) -> int:
        """The added token right behind an assistant's content."""
        tokens = self._encode(self._after_sentinel((Message("user", "x"),)))
        added = self._tokenizer.added_tokens_decoder.keys() | {self._tokenizer.eos_token_id}
        if not tokens or tokens[0] not in added:
            raise ConfigError(f"the chat template{self._name} does not end a turn with a special token")
        return tokens[0]

    def _after_sentinel(self, messages: tuple[Message, ...]) -> str:
        conversation = (Message("user", "x"), Message("assistant", _SENTINEL), *messages)
        _, found, after = self._text(conversation).partition(_SENTINEL)
        if not found:
            raise ConfigError(f"the chat template{self._name} does not show what the assistant said")
        return after

    def _text(self, messages: tuple[Message, ...], prompt: bool = True) -> str:
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=prompt, enable_thinking=False
            )
        except TemplateError as error:
            raise ConfigError(f"the chat template{self._name} refuses these messages: {error}") from error
        return str(text)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))
