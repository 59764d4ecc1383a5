"""`sdar prompts`: prompt files out of a checkout of the published code."""

from pathlib import Path

from sdar.commands.base import NoOptions, say
from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer

FILE = Path("published-prompts.toml")


def prompts(words: list[str], options: NoOptions, flags: Layer) -> int:
    """Make a prompt file, for `--env.prompt`, of the templates in your own checkout of the published code.

    DIRECTORY is its top. Nothing in it is run. FILE is published-prompts.toml unless another one is named.
    """
    from sdar.envs.prompt_files import to_text
    from sdar.envs.published_prompts import import_prompts
    from sdar.runs.files import write_atomic

    verb, *rest = words or [""]
    if verb != "import":
        raise ConfigError(f"sdar prompts cannot '{verb}': {suggest(verb, ['import'])}")
    if not 1 <= len(rest) <= 2:
        raise ConfigError("usage: sdar prompts import DIRECTORY [FILE]")
    source, file = Path(rest[0]), Path(rest[1]) if rest[1:] else FILE
    if file.suffix != ".toml":
        raise ConfigError(f"{file}: a prompt file's name ends in .toml, as in {file.name}.toml")
    if file.exists():
        raise ConfigError(f"{file} is there already: name another file, sdar prompts import {source} FILE")
    found = import_prompts(source)
    write_atomic(file, to_text(found, "Prompt templates out of a checkout of the published code."))
    for env, templates in found.items():
        say(f"{env}: {templates.fingerprint[:16]}")
    say(f"use it with --env.prompt {file} --rollout.context window")
    say(str(file))
    return 0
