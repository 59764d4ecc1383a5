"""Settings: layers of TOML tables and flags, merged strictly into nested frozen dataclasses.

The mechanism only; the schema of a run is `sdar.recipe`. A field annotated `Annotated[Base, registry]` is
polymorphic: the key `name` in its table picks the class, and `--objective grpo` is short for
`--objective.name grpo`. Choosing another name than the layers before starts from that class's defaults. What
a table without a name sets is for whichever class is chosen, as far as that has such a setting.
Nothing else is ignored: an unknown key or a wrong type names its file or flag.
"""

import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from sdar.errors import ConfigError, suggest
from sdar.settings.registry import Registry
from sdar.settings.values import Words, convert, literal, plain

T = TypeVar("T")
Table = Mapping[str, Any]
Keys = tuple[str, ...]


FLAGS = "--"
"""The `source` of what the command line itself says."""


@dataclass(frozen=True)
class Layer:
    """Settings from one place. Later layers win.

    >>> Layer("a.toml", {"optim": {"lr": 1e-3}}).label(("optim", "lr"))
    'a.toml: optim.lr'
    """

    source: str
    """The file, or `--` for flags."""
    values: Table
    """Nested tables; the leaves are TOML values or `Words`."""

    def label(self, path: Sequence[str]) -> str:
        """How an error names the setting at `path`."""
        dotted = ".".join(path)
        return f"--{dotted.replace('_', '-')}" if self.source == FLAGS else f"{self.source}: {dotted}"


def read_toml(path: Path) -> Layer:
    """One recipe as a layer."""
    try:
        return Layer(str(path), tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def read_flags(args: Sequence[str], switches: Sequence[str] = ()) -> tuple[list[str], Layer]:
    """Split a command line into positional words and a layer of `--a.b value` flags.

    A flag takes the words up to the next flag; one named in `switches` takes none.

    >>> read_flags(["a.toml", "--optim.lr", "2e-6", "--dry-run"])
    (['a.toml'], Layer(source='--', values={'optim': {'lr': ('2e-6',)}, 'dry_run': ()}))
    """
    positional: list[str] = []
    tree: dict[str, Any] = {}
    current = positional
    for arg in args:
        if not arg.startswith("--"):
            current.append(arg)
            continue
        name, equals, value = arg[2:].partition("=")
        path = name.replace("-", "_").split(".")
        taken = [value] if equals else []
        _put(tree, path, taken)
        current = positional if equals or path[0] in switches else taken
    return positional, Layer(FLAGS, _words(tree))


def _put(tree: dict[str, Any], path: Sequence[str], words: list[str]) -> None:
    if not all(path):
        raise ConfigError(f"--{'.'.join(path)} is not the name of a setting")
    for key in path[:-1]:
        if isinstance(tree.get(key), list):
            tree[key] = {"name": tree[key]}
        tree = tree.setdefault(key, {})
    if isinstance(tree.get(path[-1]), dict):
        tree[path[-1]]["name"] = words
    else:
        tree[path[-1]] = words


def _words(tree: Any) -> Any:
    return {key: _words(value) for key, value in tree.items()} if isinstance(tree, dict) else Words(tree)


# ---- merging

Tables = list[tuple[Layer, Any]]


class _UnknownSetting(Exception):
    def __init__(self, layer: Layer, path: Keys, owner: str) -> None:
        self.layer, self.path, self.owner = layer, path, owner


def load(schema: type[T], layers: Sequence[Layer], *, also: Sequence[str] = ()) -> T:
    """An instance of the dataclass `schema` with the defaults overridden by `layers`, in order.

    `also` lists names worth suggesting that are settled elsewhere. Raises `ConfigError`.
    """
    try:
        config: T = _build(schema, None, [(layer, layer.values) for layer in layers], ())
    except _UnknownSetting as unknown:
        known = [*_paths(schema, None, [(layer, layer.values) for layer in layers], ()), *also]
        raise _explain(unknown, known) from None
    return config


def _build(hint: Any, base: Any, tables: Tables, path: Keys) -> Any:
    """Merge `tables`, all for the dataclass `hint` at `path`, over `base` (None: the class's defaults)."""
    schema, base, tables = _choose(hint, base, tables, path)
    if missing := getattr(schema, "__abstractmethods__", None):
        raise ConfigError(
            f"class {schema.__name__} lacks {', '.join(sorted(missing))}, which all of its kind have"
        )
    known = settings_of(schema)
    for layer, table in tables:
        for key in table:
            if key not in known:
                raise _UnknownSetting(layer, (*path, key), _owner(hint, schema))
    changes: dict[str, Any] = {}
    for name, (field, kind) in known.items():
        given = [(layer, table[name]) for layer, table in tables if name in table]
        if given and is_table(kind):
            changes[field.name] = _build(kind, _default(field, base), given, (*path, name))
        for layer, value in [] if is_table(kind) else given:
            changes[field.name] = convert(kind, value, layer.label((*path, name)))
        if not given and base is None and _required(field):
            raise ConfigError(f"{'.'.join((*path, name))} must be set")
    return schema(**changes) if base is None else replace(base, **changes)


def _choose(hint: Any, base: Any, tables: Tables, path: Keys) -> tuple[Any, Any, Tables]:
    """Settle the class of a polymorphic field and drop what was set for another one, by its name."""
    registry = registry_of(hint)
    name = None if base is None or registry is None else registry.name_of(type(base))
    kept: Tables = []
    nameless: Tables = []
    for layer, table in tables:
        if not isinstance(table, Mapping):
            if registry is None:
                raise ConfigError(f"{layer.label(path)} is a table of settings, not a value")
            table = {"name": table}
        if registry is not None and "name" in table:
            label = layer.label((*path, "name"))
            chosen = convert(str, table["name"], label)
            if chosen not in registry:
                advice = suggest(chosen, registry)
                raise ConfigError(f"{label}: unknown {registry.what} '{chosen}': {advice}")
            if chosen != name:
                name, base, known = chosen, None, settings_of(registry[chosen])
                kept = [(one, {key: t[key] for key in t if key in known}) for one, t in nameless]
            table = {key: value for key, value in table.items() if key != "name"}
        else:
            nameless.append((layer, table))
        kept.append((layer, table))
    if registry is None:
        return _bare(hint), base, kept
    if name is None:
        raise ConfigError(f"{'.'.join((*path, 'name'))} must be set: {suggest('', registry)}")
    return registry[name], base, kept


def _explain(unknown: _UnknownSetting, known: list[str]) -> ConfigError:
    table, leaf = ".".join(unknown.path[:-1]), unknown.path[-1]
    parts = [(name.rpartition(".")[0], name.rpartition(".")[2], name) for name in known]
    beside = {end: name for start, end, name in parts if start == table}
    near = [beside[end] for end in get_close_matches(leaf, beside, n=1)]
    near = near or [name for _, end, name in parts if end == leaf][:1]
    dashed = unknown.layer.source == FLAGS
    names = [f"--{name.replace('_', '-')}" if dashed else name for name in near or beside.values()]
    choices = f"choose from {', '.join(sorted(names))}" if names else "there are none here"
    advice = f"did you mean {names[0]}?" if near else choices
    return ConfigError(f"{unknown.layer.label(unknown.path)}: unknown setting{unknown.owner}: {advice}")


def _owner(hint: Any, schema: Any) -> str:
    registry = registry_of(hint)
    return "" if registry is None else f" of {registry.what} '{registry.name_of(schema)}'"


def _paths(hint: Any, base: Any, tables: Tables, path: Keys) -> Iterator[str]:
    """Every valid dotted name, tables included, given the classes that `tables` choose."""
    schema, base, tables = _choose(hint, base, tables, path)
    if registry_of(hint) is not None:
        yield ".".join((*path, "name"))
    for name, (field, kind) in settings_of(schema).items():
        yield ".".join((*path, name))
        if is_table(kind):
            given = [(layer, table[name]) for layer, table in tables if name in table]
            yield from _paths(kind, _default(field, base), given, (*path, name))


# ---- fields and their types


def settings_of(schema: Any) -> dict[str, tuple[Field[Any], Any]]:
    """Setting -> its field and type. A field whose name Python keeps for itself ends in "_": `from_`."""
    hints = get_type_hints(schema, include_extras=True)
    return {field.name.rstrip("_"): (field, hints[field.name]) for field in fields(schema) if field.init}


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def registry_of(hint: Any) -> Registry[Any] | None:
    """Where the class of a polymorphic field is looked up by name; None of any other field."""
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((extra for extra in extras if isinstance(extra, Registry)), None)


def is_table(hint: Any) -> bool:
    """Whether a field of this type holds a table of settings."""
    return registry_of(hint) is not None or is_dataclass(_bare(hint))


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: Field[Any], base: Any) -> Any:
    """What a nested table starts from."""
    if base is not None:
        return getattr(base, field.name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


# ---- writing


def to_table(config: Any) -> dict[str, Any]:
    """The settings as nested plain values: what a TOML file would hold."""
    table: dict[str, Any] = {}
    for name, (field, hint) in settings_of(type(config)).items():
        value = getattr(config, field.name)
        if is_table(hint):
            registry = registry_of(hint)
            table[name] = {} if registry is None else {"name": registry.name_of(type(value))}
            table[name] |= to_table(value)
        elif value is not None or field.default is not None:
            table[name] = plain(value)
    return table


def to_toml(config: Any) -> str:
    """The settings as TOML; `load` of it gives an equal config."""
    return "\n".join(_lines(to_table(config), ())) + "\n"


def _lines(table: Table, path: Keys) -> Iterator[str]:
    if path:
        yield f"\n[{'.'.join(path)}]"
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{key} = {literal(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _lines(value, (*path, key))


def fingerprint(config: Any) -> str:
    """SHA-256 of the TOML form."""
    return hashlib.sha256(to_toml(config).encode()).hexdigest()
