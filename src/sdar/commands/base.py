"""What the commands share: speaking to the user, the settings of a run, and finding a model."""

import dataclasses
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.settings.config import Layer, load
from sdar.settings.shipped import read_recipes
from sdar.text.sheets import Column, Format, Sheet, write

if TYPE_CHECKING:
    from sdar.recipe import RunConfig


STOPPED = 130
"""Exit status of what the user stopped: 128 + SIGINT, as of a shell."""
IS_MAIN = os.environ.get("RANK", "0") == "0"
"""Under torchrun only the first process speaks."""


def say(text: str) -> None:
    """One line for the user."""
    if IS_MAIN:
        print(text, flush=True)


def warn(text: str) -> None:
    """One line for the user that is not part of what was asked for."""
    if IS_MAIN and text:
        print(text, file=sys.stderr, flush=True)


def first_line(item: object) -> str:
    """The first sentence of a docstring's first line."""
    return (inspect.getdoc(item) or "").partition("\n")[0].partition(". ")[0].removesuffix(".")


def source_of(item: object) -> str:
    """What the docstring names after `Source:`, up to its first paper or address; else the code's package.

    >>> from sdar.objectives.grpo import GRPO
    >>> source_of(GRPO), source_of(source_of)
    ('Shao et al. 2024, DeepSeekMath, arXiv 2402.03300', 'this package')
    """
    found = re.search(r"Sources?:\s(.*?)(?:\n\n|\Z)", inspect.getdoc(item) or "", re.DOTALL)
    if found:
        text = " ".join(found[1].split())
        work = re.match(r".*?(?:arXiv \d{4}\.\d{5}|https?://[^\s,;)]*[^\s,;).])", text)
        return work[0] if work else text.partition(". ")[0].removesuffix(".")
    module = getattr(item, "__module__", "")
    return "this package" if module.partition(".")[0] == "sdar" else module


def configure(recipes: Sequence[Layer], flags: Layer, options: type | None = None) -> "RunConfig":
    """The settings of a run out of recipes and flags."""
    from sdar.recipe import load_config

    also = [field.name for field in dataclasses.fields(options)] if options else []
    return load_config([*recipes, flags], also=also)


SHORT = {"limit": "tasks"}
"""Options whose setting under `eval` has another name."""


def short(options: object, *names: str) -> Layer:
    """The options that are short for settings under `eval`, as settings; those not given are left out."""
    given = {SHORT.get(name, name): getattr(options, name) for name in names}
    return Layer("--", {"eval": {name: value for name, value in given.items() if value is not None}})


def runs_dir(flags: Layer) -> Path:
    """Where runs are looked for by name."""
    return Path(*flags.values.get("out", ["runs"]))


RECIPES = "[RECIPE ...]"
"""How a usage says that recipes end it."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """Nothing."""


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options of every command that prints a table."""

    format: Format = Format.TABLE
    """How tables are written: for people, or whole and with bare numbers for programs."""


FAIL = "FAIL"
"""Status of a broken rule."""
Findings = Sequence[tuple[str, str]]
"""Status and text of what a check found."""


def findings_sheet(found: Findings) -> Sheet:
    """What a check found, a row each."""
    columns = (Column("status"), Column("finding", is_text=True))
    return Sheet("findings", "", columns, found, has_head=False)


def on_terminal(sheets: Sequence[Sheet], lines: Sequence[str] = ()) -> str:
    """Tables within the width of standard output, where that is a terminal."""
    from rich.console import Console

    return write(sheets, Format.TABLE, lines, Console())


def show(sheets: Sequence[Sheet], format: Format, lines: Sequence[str] = ()) -> None:
    """Tables for the user and the lines that belong to them; the path of what was made last.

    Lines that a format has no place for go to standard error: programs read standard output.
    """
    say(on_terminal(sheets, lines) if format is Format.TABLE else write(sheets, format, lines))
    if format in (Format.CSV, Format.LATEX):
        for line in lines:
            warn(line)


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    run: Callable[[list[str], Any, Layer], int]
    usage: str = ""
    options: type = NoOptions
    settings: bool = False
    """Whether it takes the settings of a run as flags."""

    def recipes(self, words: list[str]) -> list[str]:
        """Those of the words that are recipes, by the usage."""
        return words[self.usage.split().index(RECIPES.split()[0]) :] if RECIPES in self.usage else []


def shown(command: Command, words: list[str], flags: Layer) -> list[Any]:
    """The options of a command and, where it takes them, the settings of a run, as recipes and flags say."""
    own, settings = divide(flags, [field.name for field in dataclasses.fields(command.options)])
    if not command.settings:
        return [load(command.options, [own])]
    config = configure(read_recipes(command.recipes(words)), settings)
    return [load(command.options, [own]), config]


def divide(flags: Layer, names: Iterable[str]) -> tuple[Layer, Layer]:
    """The flags with these names, and the others."""
    names = set(names)
    mine = {name: value for name, value in flags.values.items() if name in names}
    rest = {name: value for name, value in flags.values.items() if name not in names}
    return Layer(flags.source, mine), Layer(flags.source, rest)
