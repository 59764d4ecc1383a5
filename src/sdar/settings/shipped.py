"""What comes with the package as files: recipes by short names, studies and examples by their usual paths.

Recipes are TOML files under `sdar/recipes`. Whatever reads a recipe takes a short name (`alfworld/published`,
`qwen2.5-3b`) or the path of a file; a recipe may start from others, its `base`. A wheel holds `studies` and
`examples` beside the recipes, a checkout at its top: `examples/my_objective.py` is found from any directory.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer, read_toml
from sdar.settings.values import convert

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


def read_recipes(words: Sequence[str]) -> list[Layer]:
    """The layers of recipes, in order, each after those that it starts from. Raises `ConfigError`.

    A word is a path that ends in `.toml`, or the name of a recipe of the package; the last part of a name is
    enough where only one recipe has it. A recipe's `base` names one word or several, whose layers come before
    its own; a path among them is seen from the recipe's directory.

    >>> read_recipes(["qwen2.5-3b"])[0].values["model"]["path"]
    'Qwen/Qwen2.5-3B-Instruct'
    """
    return [layer for word in words for layer in _with_bases(*_find_recipe(word), ())]


def read_bases(layer: Layer, file: Path, above: Sequence[Path] = ()) -> list[Layer]:
    """The layers that the `base` of what was read from `file` names; `above` are files that lead to it."""
    given = layer.values.get("base", [])
    words = convert(tuple[str, ...], [given] if isinstance(given, str) else given, layer.label(["base"]))
    layers: list[Layer] = []
    for word in words:
        place = str(file.parent / word) if word.endswith(".toml") else word
        try:
            layers += _with_bases(*_find_recipe(place), (*above, file.resolve()))
        except ConfigError as error:
            raise ConfigError(f"{layer.label(['base'])}: {error}") from error
    return layers


def _with_bases(name: str, file: Path, above: Sequence[Path]) -> Iterator[Layer]:
    """A recipe's bases, then itself."""
    if file.resolve() in above:
        raise ConfigError(f"{name} starts from itself")
    read = Layer(name, read_toml(file).values)
    yield from read_bases(read, file, above)
    yield Layer(name, {key: value for key, value in read.values.items() if key != "base"})


def _find_recipe(word: str) -> tuple[str, Path]:
    """How a recipe is named to people, and its file."""
    if word.endswith(".toml"):
        file = find_file(word)
        return str(file), file
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
    return found[0], known[found[0]]


def about(file: Path) -> str:
    """What a recipe or study is for: its comment at the top, up to the first command or blank line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    text: list[str] = []
    for line in lines:
        if not line.startswith("# ") or line.startswith("#  "):
            break
        text.append(line[2:].strip())
    return " ".join(text).rstrip(":")
