"""Prompt files: the templates of an environment's prompts as a user has them, instead of the built-in ones.

A file is TOML with a table for each environment in it, of two texts:

    [webshop]
    first = '''...{task_description}...'''
    later = '''...'''

`first` is the prompt of a turn without history, `later` that of every other turn. What stands in braces is a
field, see `FIELDS`; braces themselves are doubled. `sdar prompts import` writes such a file.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

from sdar.envs.base import EnvSpec, PromptSet
from sdar.errors import ConfigError, DataError, suggest
from sdar.runs.files import explain
from sdar.settings.config import read_toml

LARGEST = 1 << 18
"""Bytes of a file with templates."""
MADE = "`sdar prompts import` makes a file"
NAMES = ("first", "later")
_PAST = ("step_count", "history_length", "action_history", "current_step")
_ROOM = ("current_observation", "admissible_actions")
_PAGE = ("task_description", "current_observation", "available_actions")
FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "alfworld": (_ROOM, ("task_description", *_PAST, *_ROOM)),
    "webshop": (_PAGE, (*_PAST, *_PAGE)),
    "search_qa": (("task_description",), ("task_description", "step_count", "memory_context")),
}
"""Environment -> the fields of its first template, and of its later one: those that are published."""


class Template:
    """A text with fields, as `str.format` has them, but plain: `{field}`, `{{` and `}}`.

    Raises `DataError` for anything else in braces.

    >>> Template("{{}} {step_count} of {current_step}", ["step_count", "current_step"]).fill(
    ...     {"step_count": "1", "current_step": "{2}"}
    ... )
    '{} 1 of {2}'
    """

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        """`fields` are those that the text may have."""
        self.text = text
        self._pieces: list[tuple[str, str | None]] = []
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise DataError(f"has a brace that is neither doubled nor part of a field ({error})") from error
        for literal, name, form, conversion in parsed:
            if name is not None and (name not in fields or form or conversion):
                raise DataError(f"has an unknown field '{{{name[:60]}}}': {suggest(name[:60], fields)}")
            self._pieces.append((literal, name))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with a value for each field."""
        return "".join(text + (values[name] if name else "") for text, name in self._pieces)


@dataclass(frozen=True)
class Templates:
    """What a prompt file has for one environment."""

    first: Template
    later: Template

    @classmethod
    def of(cls, env: str, texts: Mapping[str, Any], where: str) -> "Templates":
        """The templates of an environment out of their texts; a `DataError` starts with `where`."""
        unknown = sorted(set(texts) - set(NAMES))
        if unknown:
            raise DataError(f"{where}.{unknown[0]} is not known: {suggest(unknown[0], NAMES)}")
        made = []
        for name, fields in zip(NAMES, FIELDS[env], strict=True):
            text = texts.get(name, "")
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{where}.{name} must be a text: the prompt with {', '.join(fields)}")
            try:
                made.append(Template(text, fields))
            except DataError as error:
                raise DataError(f"{where}.{name} {error}") from error
        return cls(*made)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both texts."""
        return hashlib.sha256("\0".join([self.first.text, self.later.text]).encode()).hexdigest()


def read_prompts(path: Path, env: str) -> Templates:
    """The templates for an environment in a prompt file.

    A fingerprint behind the path, as in `settle_prompt`, has to be that of the templates. Raises `DataError`
    or `ConfigError`, which name the file.
    """
    file, wanted = _parted(path)
    try:
        if not file.is_file():
            raise ConfigError(f"there is no prompt file {file}; `sdar prompts import` makes one")
        if file.stat().st_size > LARGEST:
            raise DataError(f"{file} is no prompt file: it has more than {LARGEST:,} bytes")
    except OSError as error:
        raise ConfigError(explain(error, file)) from error
    tables = read_toml(file).values
    if env not in FIELDS:
        raise ConfigError(f"{env} takes no prompt file: choose from {', '.join(PromptSet)}")
    if not isinstance(tables.get(env), Mapping):
        raise DataError(f"{file} has no prompts of {env}: {suggest(env, set(tables) & set(FIELDS), MADE)}")
    templates = Templates.of(env, tables[env], f"{file}: {env}")
    if not templates.fingerprint.startswith(wanted):
        raise ConfigError(
            f"{file} has other prompts of {env} than when these settings were made: "
            f"bring them back, or use the new ones with --env.prompt {file}"
        )
    return templates


@lru_cache(16)
def kept_prompts(path: Path, env: str) -> Templates:
    """What `read_prompts` gave once: for settled paths, whose fingerprint says what is in the file."""
    return read_prompts(path, env)


def settle_prompt(spec: EnvSpec, env: str) -> None:
    """Check the field `prompt` of a frozen spec, and put the fingerprint of its templates behind a path.

    So settings say which templates they were made with, and a file that has changed is found. A path ends in
    `.toml`. Raises `ConfigError` or `DataError`.
    """
    value: PromptSet | Path | str = spec.prompt  # type: ignore[attr-defined]
    if str(value) in list(PromptSet):
        object.__setattr__(spec, "prompt", PromptSet(str(value)))
        return
    file, _ = _parted(Path(value))
    if file.suffix != ".toml":
        near = suggest(str(value), PromptSet)
        raise ConfigError(f"{env}: unknown prompt '{value}': {near}; a prompt file's name ends in .toml")
    mark = read_prompts(Path(value), env).fingerprint[:16]
    object.__setattr__(spec, "prompt", file.with_name(f"{file.name}#{mark}"))


def to_text(prompts: Mapping[str, Templates], comment: str) -> str:
    """A prompt file, with a comment of one line at its top; `read_prompts` reads it back."""
    lines = [f"# {comment}"]
    for env, templates in prompts.items():
        lines += ["", f"[{env}]"]
        lines += [f"{name} = {_quoted(getattr(templates, name).text)}" for name in NAMES]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text as TOML over several lines."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    controls = {code: f"\\u{code:04x}" for code in (*range(32), 127) if chr(code) not in "\t\n"}
    return f'"""\n{escaped.translate(controls)}"""'


def _parted(path: Path) -> tuple[Path, str]:
    """A path without and with its fingerprint, which may be missing."""
    name, _, mark = path.name.partition("#")
    return (path.with_name(name) if name else path), mark
