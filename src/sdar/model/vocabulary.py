"""Whether a tokenizer and its model fit, from their files alone. No torch."""

import json
from pathlib import Path
from typing import Any

from sdar.errors import ConfigError


def check_vocabulary(model: Path) -> None:
    """Find a tokenizer that has more tokens than its model.

    Looks at `config.json` and `tokenizer.json`; a model that lacks one of them is left to those
    who load it. Raises `ConfigError`.
    """
    if not all((model / name).is_file() for name in ("config.json", "tokenizer.json")):
        return
    shape, tokenizer = (_read(model / name) for name in ("config.json", "tokenizer.json"))
    size = shape.get("text_config", shape).get("vocab_size")
    tokens = _tokens(tokenizer)
    if isinstance(size, int) and tokens:
        check_fits(model, tokens, size)


def check_fits(model: Path | str, tokens: dict[str, int], size: int) -> int:
    """One more than the largest id of a tokenizer. Raises `ConfigError` when a model has only `size` ids."""
    last = max(tokens, key=tokens.__getitem__)
    if tokens[last] >= size:
        raise ConfigError(
            f"the tokenizer at {model} has more tokens than the model: '{last}' is {tokens[last]}, "
            f"and the model has {size}: resize its embeddings, or take the tokens out"
        )
    return tokens[last] + 1


def _tokens(tokenizer: dict[str, Any]) -> dict[str, int]:
    """Token -> id of a `tokenizer.json`; pieces of a unigram model are numbered in order."""
    pieces = tokenizer.get("model", {}).get("vocab", {})
    known = pieces if isinstance(pieces, dict) else {piece[0]: place for place, piece in enumerate(pieces)}
    return known | {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file} is damaged ({error}): restore it from a copy") from error
    return found
