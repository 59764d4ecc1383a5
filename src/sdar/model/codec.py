"""Text to tokens in two ways: a template's text may hold control tokens, a content's never does."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from sdar.errors import ConfigError
from sdar.text.unicode import well_formed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Codec:
    """A tokenizer taken apart: with its added tokens for templates, without them for contents.

    Neither puts a space in front of a text: pieces of one prompt are tokenised one by one.
    Raises `ConfigError` for a tokenizer that is not of the `tokenizers` library.
    """

    control: frozenset[int]
    """Added tokens: no content has one, whatever it spells."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            kind = type(tokenizer).__name__
            raise ConfigError(f"{kind} is not a fast tokenizer: save it with a tokenizer.json")
        state: dict[str, Any] = json.loads(backend.to_str())
        state |= {"truncation": None, "padding": None, "post_processor": None}
        state |= {name: _without_prefix(state[name]) for name in ("normalizer", "pre_tokenizer")}
        self._template = Tokenizer.from_str(json.dumps(state))
        added, state["added_tokens"] = state["added_tokens"], []
        self._content = Tokenizer.from_str(json.dumps(state))
        # Some tokenizers add runs of white space, which open and close nothing.
        ids = {token["id"] for token in added if token["content"].strip()}
        self.control = frozenset(ids - {tokenizer.unk_token_id})
        self.template = lru_cache(1024)(self._encode_template)

    def _encode_template(self, text: str) -> tuple[int, ...]:
        """Tokens of a piece of a template, control tokens among them."""
        return tuple(self._template.encode(text, add_special_tokens=False).ids)

    def content(self, text: str) -> list[int]:
        """Tokens of a content; a control token's name in it is letters like any others.

        What is no character, such as half of an emoji, reads U+FFFD.
        """
        text = well_formed(text)
        encoding = self._content.encode(text, add_special_tokens=False)
        ids: list[int] = encoding.ids
        # Where the model's own vocabulary has a control token as a word, that word is taken apart.
        pairs = zip(ids, encoding.offsets, strict=True)
        cuts = [start + 1 for token, (start, end) in pairs if token in self.control and end - start > 1]
        if not cuts:
            return ids
        pieces = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
        return [token for piece in pieces for token in self.content(piece)]


def _without_prefix(part: Any) -> Any:
    """A normalizer or pre-tokenizer that puts nothing in front of a text."""
    if isinstance(part, list):
        return [_without_prefix(each) for each in part if not _is_prefix(each)]
    if not isinstance(part, dict):
        return part
    if _is_prefix(part):
        return None
    never: dict[str, Any] = {"add_prefix_space": False, "prepend_scheme": "never"}
    return {key: _without_prefix(value) for key, value in part.items()} | {
        key: value for key, value in never.items() if key in part
    }


def _is_prefix(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "Prepend"
