"""One setting between its three forms: a TOML value, the words of a flag, and the typed field of a dataclass.

TOML has no null, so the word `none` stands for None in fields that allow it.
"""

import json
import math
from collections.abc import Iterator, Mapping
from enum import Enum, StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from urllib.parse import urlsplit

from sdar.errors import ConfigError, suggest

_SAID: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}

LARGEST = 2**63 - 1
"""Of whole numbers in settings: what seeds and tensors can hold."""
_SHOWN = 60
"""Characters of a refused value that an error repeats."""


class Words(tuple[str, ...]):
    """The words given to one flag, not yet of any type."""


class _Unfit(ValueError):
    """Says what was expected."""


def convert(hint: Any, value: Any, label: str) -> Any:
    """`value`, from TOML or a flag, as the type `hint`. Raises `ConfigError` that starts with `label`.

    >>> convert(float, Words(["2e-6"]), "--optim.lr"), convert(tuple[str, ...], ["a"], "a.toml: plugins")
    (2e-06, ('a',))
    """
    try:
        return _convert(hint, value)
    except _Unfit as error:
        raise ConfigError(f"{label} must be {error}, got {_shown(value)}") from None


def _shown(value: Any) -> str:
    """A refused value, on one line and not too long."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"one of {value.bit_length()} bits"
    text = repr(" ".join(value)) if isinstance(value, Words) else literal(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _convert(hint: Any, value: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _convert(args[0], value)
    if origin in (Union, UnionType):
        return _union(args, value)
    if origin is tuple:
        return _tuple(args, value)
    if isinstance(value, Words):
        value = _parse(hint, value)
    if origin is Literal:
        return _member({str(arg): arg for arg in args}, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member({str(member.value): member for member in hint}, value)
    if hint is Path and isinstance(value, str):
        return Path(value).expanduser()
    if hint is float and type(value) is int and -LARGEST <= value <= LARGEST:
        value = float(value)
    if type(value) is not hint:
        raise _Unfit(_SAID[hint])
    if hint is float and not math.isfinite(value):
        raise _Unfit("a finite number")
    if hint is int and not -LARGEST <= value <= LARGEST:
        raise _Unfit("a whole number of at most 63 bits")
    return value


def _union(args: tuple[Any, ...], value: Any) -> Any:
    """The first member that fits."""
    word = value[0] if isinstance(value, Words) and len(value) == 1 else value
    if NoneType in args and isinstance(word, str) and word.lower() == "none":
        return None
    expected: list[str] = []
    for member in args:
        if member is NoneType:
            expected.append("none")
            continue
        try:
            return _convert(member, value)
        except _Unfit as error:
            expected.append(str(error))
    raise _Unfit(" or ".join(expected))


def _tuple(args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | Words):
        raise _Unfit("a list")
    items = [Words([item]) for item in value] if isinstance(value, Words) else value
    kinds = [args[0]] * len(items) if args[1:] == (Ellipsis,) else args
    if len(items) != len(kinds):
        raise _Unfit(f"a list of {len(kinds)}")
    return tuple(_convert(kind, item) for kind, item in zip(kinds, items, strict=True))


def _parse(hint: Any, words: Words) -> Any:
    if hint is bool:
        choices = {"true": True, "false": False}
        return True if not words else _member(choices, " ".join(words).lower(), _SAID[bool])
    if len(words) != 1:
        raise _Unfit("one value")
    if hint in (int, float):
        try:
            return hint(words[0])
        except ValueError:
            raise _Unfit(_SAID[hint]) from None
    return words[0]


def _member(choices: dict[str, Any], value: Any, said: str = "") -> Any:
    if not isinstance(value, str) or value not in choices:
        raise _Unfit(said or f"one of {', '.join(choices)}")
    return choices[value]


def plain(value: Any) -> Any:
    """A typed field as a TOML value."""
    if value is None:
        return "none"
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def flag_words(value: Any) -> list[str]:
    """A typed field or a TOML value as the words after its flag.

    >>> flag_words(0.1), flag_words(["a", 2]), flag_words(None)
    (['0.1'], ['a', '2'], ['none'])
    """
    value = plain(value)
    listed = value if isinstance(value, list) else [value]
    return [item if isinstance(item, str) else json.dumps(item) for item in listed]


def literal(value: Any) -> str:
    """A TOML value as it is written in a file.

    >>> literal(["a", True, 0.5])
    '["a", true, 0.5]'
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def check_choices(settings: Any, label: str, **choices: type[StrEnum]) -> None:
    """Make the words in these fields of a frozen dataclass members of their enum; None stays.

    For `__post_init__`, where the fields of settings made in Python may still hold plain words. Raises
    `ConfigError` that starts with `label` for a word that is none of them.
    """
    for name, kind in choices.items():
        value = getattr(settings, name)
        if value is None:
            continue
        if value not in list(kind):
            raise ConfigError(f"{label}: unknown {name} '{value}': {suggest(str(value), kind)}")
        object.__setattr__(settings, name, kind(value))


def check_least(settings: Any, label: str, **least: float) -> None:
    """Raise `ConfigError` for the first of these fields that is below its least value."""
    for name, value in least.items():
        if not value <= getattr(settings, name) < math.inf:
            raise ConfigError(f"{label}.{name} must be at least {value}, not {getattr(settings, name)}")


def check_address(label: str, address: str) -> None:
    """Raise `ConfigError`, which starts with `label`, unless this is an http address without a secret in it.

    >>> check_address("writer.base_url", "http://localhost:8000/v1")
    """
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        hides = parts.username or parts.password or parts.query
    except ValueError:
        usable, hides = False, None
    if not usable:
        raise ConfigError(f"{label}: {address!r} is not an address such as https://host:port/v1")
    if hides:
        raise ConfigError(f"{label} must not hold a password or a query: a key goes into OPENAI_API_KEY")


def by_path(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables by their paths, as flags name them.

    >>> dict(by_path({"train": {"steps": 3}, "device": "cpu"}))
    {'train.steps': 3, 'device': 'cpu'}
    """
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from by_path(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
