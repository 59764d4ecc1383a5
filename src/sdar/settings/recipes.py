"""The recipes that come with the package, by short names such as `alfworld/published` and `qwen2.5-3b`.

They are TOML files under `sdar/recipes`. Whatever reads a recipe takes such a name or the path of a file.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer, read_toml

HOME = Path(__file__).resolve().parents[1] / "recipes"


@cache
def shipped() -> Mapping[str, Path]:
    """Name -> file, of every recipe of the package."""
    files = sorted(HOME.rglob("*.toml"))
    return {file.relative_to(HOME).with_suffix("").as_posix(): file for file in files}


def read_recipe(word: str) -> Layer:
    """The recipe at a path that ends in `.toml`, or one of the package by its name. Raises `ConfigError`.

    The last part of a name is enough where only one recipe has it.

    >>> read_recipe("qwen2.5-3b").values["model"]["path"]
    'Qwen/Qwen2.5-3B-Instruct'
    """
    known = shipped()
    if word.endswith(".toml"):
        if not Path(word).exists() and (name := word.removesuffix(".toml").removeprefix("recipes/")) in known:
            raise ConfigError(f"there is no file {word}; the recipe that comes with sdar is named '{name}'")
        return read_toml(Path(word))
    found = [name for name in known if word in (name, name.rpartition("/")[2])]
    if len(found) > 1:
        raise ConfigError(f"several recipes are named '{word}': choose from {', '.join(found)}")
    if not found:
        ends = [name.rpartition("/")[2] for name in known]
        choices = [*known, *(end for end in ends if ends.count(end) == 1)]
        near = suggest(word, choices)
        advice = near if near.startswith("did") else "sdar list recipes shows them"
        raise ConfigError(f"there is no recipe '{word}': {advice}; a file's name ends in .toml")
    return Layer(found[0], read_toml(known[found[0]]).values)


def about(file: Path) -> str:
    """What a recipe is for: the first line of comment in it."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
