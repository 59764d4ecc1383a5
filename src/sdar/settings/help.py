"""The help of settings: what each takes, what it is for, and its value now. argparse lays it out."""

import argparse
import ast
import shutil
import sys
import textwrap
from collections.abc import Iterator
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from sdar.settings.config import is_table, registry_of, settings_of
from sdar.settings.values import flag_words

_KINDS: dict[Any, str] = {
    bool: "{true,false}",
    int: "INT",
    float: "FLOAT",
    str: "TEXT",
    Path: "PATH",
    NoneType: "none",
}


def help_text(usage: str, description: str, *shown: Any) -> str:
    """What `--help` prints: all settings of the instances `shown` as flags, table by table.

    Of a field that can hold several classes it shows the settings of the one that is chosen.
    """
    parser = argparse.ArgumentParser(
        usage=usage,
        description=_wrapped(description),
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser, *shown)
    return parser.format_help().rstrip()


def add_settings(parser: argparse.ArgumentParser, *shown: Any) -> None:
    """Give a parser all settings of the instances `shown` as flags."""
    options = parser.add_argument_group("options")
    options.add_argument("-h", "--help", action="store_true", help="Show this help and stop.")
    for settings in shown:
        _add(parser, options, settings, "")


def _wrapped(text: str) -> str:
    """Paragraphs as wide as the terminal, less the two columns by which argparse indents a group's."""
    width = shutil.get_terminal_size().columns - 2
    return "\n\n".join(textwrap.fill(" ".join(part.split()), width) for part in text.split("\n\n"))


def _add(parser: argparse.ArgumentParser, group: Any, settings: Any, prefix: str) -> None:
    """The settings of one table, then those of the tables in it."""
    docs = field_docs(type(settings))
    for name, (field, hint) in settings_of(type(settings)).items():
        flag, value = f"--{prefix}{name}".replace("_", "-"), getattr(settings, field.name)
        words = docs.get(field.name, "")
        registry = registry_of(hint)
        if is_table(hint):
            words += f" (default: {registry.name_of(type(value))})" if registry else ""
            _add(parser, parser.add_argument_group(flag, _wrapped(words)), value, f"{prefix}{name}.")
        elif hint is bool and not prefix:
            group.add_argument(flag, action="store_true", help=words.replace("%", "%%"))
        else:
            default = " ".join(flag_words(value))
            words += f" (default: {default})" if default else ""
            option = group.add_argument(flag, metavar=metavar(hint), help=words.strip().replace("%", "%%"))
            option.choices = choices(hint)


def metavar(hint: Any) -> str:
    """What a flag of this type takes.

    >>> metavar(float), metavar(tuple[str, ...]), metavar(int | None)
    ('FLOAT', 'TEXT ...', 'INT|none')
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return metavar(args[0])
    if origin in (Union, UnionType):
        return "|".join(metavar(arg) for arg in args)
    if origin is tuple:
        return f"{metavar(args[0])} ..." if args[1:] == (Ellipsis,) else " ".join(map(metavar, args))
    if origin is Literal:
        return f"{{{','.join(map(str, args))}}}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"{{{','.join(str(member.value) for member in hint)}}}"
    return _KINDS[hint]


def choices(hint: Any) -> list[str] | None:
    """The words that a flag of this type takes, where they are known.

    >>> choices(Literal["cpu", "cuda"] | None), choices(int)
    (['cpu', 'cuda', 'none'], None)
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    words: list[str] = []
    for kind in kinds:
        shown = metavar(kind)
        if kind is not NoneType and not shown.startswith("{"):
            return None
        words += shown.strip("{}").split(",")
    return words


def field_docs(schema: type) -> dict[str, str]:
    """Field -> the docstring under it, in the dataclass or in the nearest one that it inherits from.

    Read from the source: Python does not keep these texts.
    """
    docs: dict[str, str] = {}
    for owner in schema.__mro__:
        for name, text in _docs_of(owner.__module__, owner.__qualname__):
            docs.setdefault(name, text)
    return docs


@cache
def _tree(module: str) -> dict[str, list[ast.stmt]]:
    """Class -> its body, of a module's outermost classes."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py"):
        return {}
    body = ast.parse(Path(file).read_text(encoding="utf-8")).body
    return {node.name: node.body for node in body if isinstance(node, ast.ClassDef)}


def _docs_of(module: str, name: str) -> Iterator[tuple[str, str]]:
    """The fields of one class with the strings that follow them."""
    body = _tree(module).get(name, [])
    for field, after in pairwise(body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())
