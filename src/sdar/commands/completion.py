"""`sdar completion`."""

from sdar.commands.base import RECIPES, NoOptions, first_line, say, shown
from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer
from sdar.settings.help import add_settings
from sdar.settings.shipped import recipes

SHELLS = ("bash", "fish", "zsh")


def completion(words: list[str], options: NoOptions, flags: Layer) -> int:
    """Print what makes a shell complete commands, recipes, options and settings.

    SHELL is bash, zsh or fish. In ~/.bashrc: eval "$(sdar completion bash)". For zsh, write it to a file
    _sdar in a directory of $fpath; for fish, to ~/.config/fish/completions/sdar.fish.
    """
    import argparse

    import shtab

    from sdar.commands import COMMANDS

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
