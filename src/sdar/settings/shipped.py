"""What comes with the package as files: recipes by short names, studies and examples by their usual paths.

Recipes are TOML files under `sdar/recipes`. Whatever reads a recipe takes a short name (`alfworld/published`,
`qwen2.5-3b`) or the path of a file. A wheel holds `studies` and `examples` beside the recipes, a checkout at
its top, so `examples/my_objective.py` is found from any directory.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer, read_toml

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parents[1]


def find_file(name: str | Path) -> Path:
    """What is at a path, or else what the package has under this path, or else the path itself."""
    path = Path(name)
    if path.exists() or path.is_absolute():
        return path
    homes = [PACKAGE, *([CHECKOUT] if (CHECKOUT / "pyproject.toml").is_file() else [])]
    found = [home / path for home in homes if path.parts[0] in ("recipes", "studies", "examples")]
    return next((file for file in found if file.exists()), path)


def is_shipped(file: Path) -> bool:
    """Whether a file belongs to an installed package, where nothing may be written beside it."""
    return file.resolve().is_relative_to(PACKAGE)


@cache
def recipes() -> Mapping[str, Path]:
    """Name -> file, of every recipe of the package."""
    home = PACKAGE / "recipes"
    files = sorted(home.rglob("*.toml"))
    return {file.relative_to(home).with_suffix("").as_posix(): file for file in files}


def read_recipe(word: str) -> Layer:
    """The recipe at a path that ends in `.toml`, or one of the package by its name. Raises `ConfigError`.

    The last part of a name is enough where only one recipe has it.

    >>> read_recipe("qwen2.5-3b").values["model"]["path"]
    'Qwen/Qwen2.5-3B-Instruct'
    """
    if word.endswith(".toml"):
        return read_toml(find_file(word))
    known = recipes()
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
    """What a recipe or study is for: its comment at the top, up to the first command or blank line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    text: list[str] = []
    for line in lines:
        if not line.startswith("# ") or line.startswith("#  "):
            break
        text.append(line[2:].strip())
    return " ".join(text).rstrip(":")
