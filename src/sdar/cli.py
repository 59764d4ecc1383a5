"""The command line: `sdar COMMAND words... --flags`. The commands are in `sdar.commands`.

Flags are settings, merged like recipes (`sdar.settings.config`).
"""

import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from io import TextIOWrapper

from sdar import __version__
from sdar.commands import COMMANDS
from sdar.commands.base import IS_MAIN, STOPPED, Command, divide, first_line, say, shown
from sdar.errors import ConfigError, SdarError, suggest
from sdar.runs.files import explain
from sdar.settings.config import Layer, load, read_flags
from sdar.settings.help import help_text

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


def overview() -> str:
    """The text of `sdar --help`."""
    heads = [f"  sdar {name}" for name in COMMANDS]
    column, width = max(map(len, heads)) + 2, shutil.get_terminal_size().columns
    lines = [
        textwrap.fill(
            first_line(command.run), width, initial_indent=head.ljust(column), subsequent_indent=" " * column
        )
        for head, command in zip(heads, COMMANDS.values(), strict=True)
    ]
    title = "Train multi-turn LLM agents with reinforcement learning and self-distillation."
    more = (
        "sdar COMMAND --help shows what a command takes; --quiet shows no progress, and\n"
        "--format writes tables as json, csv, markdown or latex."
    )
    return "\n".join([title, "", *lines, "", more])


def show_help(name: str, command: Command, words: list[str], flags: Layer) -> None:
    """Print what a command takes; of the objectives and environments, the settings of the chosen ones."""
    usage = " ".join(["sdar", name, *command.usage.split(), "[--FLAGS]"])
    say(help_text(usage, inspect.getdoc(command.run) or "", *shown(command, words, flags)))
