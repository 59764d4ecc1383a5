"""The command line: `sdar COMMAND words... --flags`. The commands are in `sdar.commands`.

Flags are settings, merged like recipes (`sdar.settings.config`).
"""

import inspect
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from io import TextIOWrapper
from typing import Any

from sdar import __version__
from sdar.commands import COMMANDS as OTHERS
from sdar.commands.base import IS_MAIN, RECIPES, STOPPED, Command, configure, first_line, on_terminal, say
from sdar.errors import ConfigError, SdarError, suggest
from sdar.runs.files import explain
from sdar.settings.config import Layer, load, read_flags
from sdar.settings.help import add_settings, help_text
from sdar.settings.shipped import read_recipe, recipes
from sdar.text.sheets import Column, Sheet

CLOSED = 141
"""Exit status when nobody reads the output any more: 128 + SIGPIPE, as of a shell."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status. An `SdarError` or `OSError` becomes one line and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal or file that cannot show a character shows its number, and the run goes on.
            stream.reconfigure(errors="backslashreplace")
    try:
        return dispatch(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:
        # Whoever reads has enough, as `| head`. Python must not complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except SdarError as error:
        # All ranks meet the same ConfigError; other errors may belong to the tasks of one.
        if IS_MAIN or not isinstance(error, ConfigError):
            print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if IS_MAIN:
            print("stopped", file=sys.stderr)
        return STOPPED


def dispatch(args: list[str]) -> int:
    """Find the command, read its flags and run it."""
    name = args[0] if args else "--help"
    if name in ("-h", "--help"):
        say(overview())
        return 0
    if name == "--version":
        say(__version__)
        return 0
    if name not in COMMANDS:
        raise ConfigError(f"unknown command '{name}': {suggest(name, COMMANDS)}")
    command = COMMANDS[name]
    own = fields(command.options)
    switches = [field.name for field in own if field.type is bool] + ["quiet"]
    plain = ["--help" if arg == "-h" else arg for arg in args[1:]]
    words, flags = read_flags(plain, [*switches, "help"])
    if "help" in flags.values:
        _, flags = divide(flags, ["help"])
        show_help(name, command, words, flags)
        return 0
    quiet, flags = divide(flags, ["quiet"])
    mine, settings = divide(flags, [field.name for field in own] if command.settings else flags.values)
    options: object = load(command.options, [mine])
    if not quiet.values:
        return command.run(words, options, settings)
    from sdar.runs.progress import quietly

    with quietly():
        return command.run(words, options, settings)


def divide(flags: Layer, names: Iterable[str]) -> tuple[Layer, Layer]:
    """The flags with these names, and the others."""
    names = set(names)
    mine = {name: value for name, value in flags.values.items() if name in names}
    rest = {name: value for name, value in flags.values.items() if name not in names}
    return Layer(flags.source, mine), Layer(flags.source, rest)


def overview() -> str:
    """The text of `sdar --help`."""
    columns = (Column("command", "  sdar {}".format), Column("what it does", is_text=True))
    rows = [(name, first_line(command.run)) for name, command in COMMANDS.items()]
    title = "Train multi-turn LLM agents with reinforcement learning and self-distillation."
    table = on_terminal([Sheet("commands", "", columns, rows, has_head=False)])
    more = (
        "sdar COMMAND --help shows what a command takes; --quiet shows no progress, and\n"
        "--format writes tables as json, csv, markdown or latex."
    )
    return "\n".join([title, "", table, "", more])


def show_help(name: str, command: Command, words: list[str], flags: Layer) -> None:
    """Print what a command takes; of the objectives and environments, the settings of the chosen ones."""
    usage = " ".join(["sdar", name, *command.usage.split(), "[--FLAGS]"])
    say(help_text(usage, inspect.getdoc(command.run) or "", *shown(command, words, flags)))


def shown(command: Command, words: list[str], flags: Layer) -> list[Any]:
    """The options of a command and, where it takes them, the settings of a run, as recipes and flags say."""
    own, settings = divide(flags, [field.name for field in fields(command.options)])
    if not command.settings:
        return [load(command.options, [own])]
    config = configure([read_recipe(word) for word in command.recipes(words)], settings)
    return [load(command.options, [own]), config]


@dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """None."""


def completion(words: list[str], options: CompletionOptions, flags: Layer) -> int:
    """Print what makes a shell complete commands, recipes, options and settings.

    SHELL is bash, zsh or fish. In ~/.bashrc: eval "$(sdar completion bash)". For zsh, write it to a file
    _sdar in a directory of $fpath; for fish, to ~/.config/fish/completions/sdar.fish.
    """
    import argparse

    import shtab

    if len(words) != 1 or words[0] not in SHELLS:
        raise ConfigError(f"sdar completion takes a shell: {suggest(' '.join(words), SHELLS)}")
    parser = argparse.ArgumentParser("sdar", add_help=False)
    below = parser.add_subparsers()
    for name, command in COMMANDS.items():
        one = below.add_parser(name, help=first_line(command.run), add_help=False)
        add_settings(one, *shown(command, [], flags))
        if RECIPES in command.usage:
            one.add_argument("recipes", nargs="*", choices=[*recipes()])
        else:
            one.add_argument("words", nargs="*").complete = shtab.FILE  # type: ignore[attr-defined]
    say(shtab.complete(parser, words[0]))
    return 0


SHELLS = ("bash", "fish", "zsh")
COMMANDS = {**OTHERS, "completion": Command(completion, "SHELL", CompletionOptions)}
