"""Messages to tokens and back: the only caller of the chat template.

A conversation is tokens. What the policy sampled is never turned into text and tokenised again: a prompt is
rendered once, and what follows a completion is rendered apart and put behind it. What messages say is
tokenised apart from the template, and without control tokens: no text can open or close a turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from sdar.errors import ConfigError
from sdar.model.codec import Codec
from sdar.model.skeleton import Segment, segments
from sdar.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENERATION = "generation_config.json"


class Chat:
    """A tokenizer with its chat template, thinking switched off where the template knows the switch.

    Raises `ConfigError` for a tokenizer without a template, or with one that has no generation prompt or no
    token at the end of a turn.
    """

    stop_ids: frozenset[int]
    """Tokens that end a completion: the template's end of turn, and every end of text that the tokenizer and
    the `generation_config.json` beside it name."""
    pad_id: int
    """A token to fill rows with; its value means nothing."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer, self._codec = tokenizer, Codec(tokenizer)
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
        ends = {self._end_of_turn, tokenizer.eos_token_id, *self._declared_ends()} - {None}
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

    def encode(self, text: str) -> list[int]:
        """The tokens of what somebody says, no control token among them."""
        return self._codec.content(text)

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
        return self._encode(segments(messages, self._text))

    def _continue(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        tokens = self._after_answer(messages)
        if tokens[:1] != (self._end_of_turn,):
            raise ConfigError(f"the chat template{self._name} ends a turn differently in mid-conversation")
        return tokens

    def _find_end_of_turn(self) -> int:
        """The added token right behind an assistant's content."""
        tokens = self._after_answer((Message("user", "x"),))
        if not tokens or tokens[0] not in self._codec.control | {self._tokenizer.eos_token_id}:
            raise ConfigError(f"the chat template{self._name} does not end a turn with a special token")
        return tokens[0]

    def _after_answer(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        """The tokens behind what an assistant said, with `messages` after it."""
        pieces = segments((Message("user", "x"), Message("assistant", "x"), *messages), self._text)
        said = [place for place, piece in enumerate(pieces) if piece.message == 1]
        if not said:
            raise ConfigError(f"the chat template{self._name} does not show what the assistant said")
        return self._encode(pieces[said[-1] + 1 :])

    def _encode(self, pieces: Sequence[Segment]) -> tuple[int, ...]:
        """Template and contents, each tokenised for itself."""
        encode = self._codec.content, self._codec.template
        return tuple(token for piece in pieces for token in encode[piece.message is None](piece.text))

    def _text(self, messages: Sequence[Message], prompt: bool = True) -> str:
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=prompt, enable_thinking=False
            )
        except TemplateError as error:
            raise ConfigError(f"the chat template{self._name} refuses these messages: {error}") from error
        return str(text)

    def _declared_ends(self) -> set[int]:
        """Every end of text in the `generation_config.json` beside the tokenizer's files."""
        from transformers import GenerationConfig

        place = self._tokenizer.name_or_path
        folder = Path(place)
        if not place or (folder.is_dir() and not (folder / GENERATION).is_file()):
            return set()
        try:
            ends = GenerationConfig.from_pretrained(place).eos_token_id
        except (OSError, ValueError, TypeError) as error:
            if folder.is_dir():
                raise ConfigError(
                    f"cannot read {folder / GENERATION}: {str(error).splitlines()[0]}"
                ) from error
            return set()
        return set(ends) if isinstance(ends, list) else {ends} - {None}
