"""Layers, strictness, polymorphic fields and the TOML round trip."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest

from sdar.errors import ConfigError
from sdar.settings.config import Layer, fingerprint, load, read_flags, read_toml, to_toml
from sdar.settings.registry import Registry


class Shape:
    """Base of the polymorphic field."""


shapes: Registry[type[Shape]] = Registry("shape")


@shapes.register("disc")
@dataclass(frozen=True, kw_only=True)
class Disc(Shape):
    radius: float = 1.0
    filled: bool = False


@shapes.register("box")
@dataclass(frozen=True, kw_only=True)
class Box(Shape):
    width: float = 2.0
    filled: bool = False


class Mode(StrEnum):
    SLOW = "slow-mode"
    FAST = "fast-mode"


@dataclass(frozen=True, kw_only=True)
class Optim:
    lr: float = 1e-3
    max_norm: float | None = None
    betas: tuple[float, float] = (0.9, 0.95)

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ConfigError("optim.lr must be positive")


@dataclass(frozen=True, kw_only=True)
class Schema:
    seed: int = 0
    title: str = "run"
    out: Path = Path("runs")
    mode: Mode = Mode.SLOW
    kind: Literal["a", "b"] = "a"
    plugins: tuple[str, ...] = ()
    limit: int | None = None
    floor: float | None = 0.5
    optim: Optim = field(default_factory=Optim)
    shape: Annotated[Shape, shapes] = field(default_factory=Disc)


def flags(*args: str) -> Layer:
    return read_flags(args)[1]


def toml(tmp_path: Path, text: str, name: str = "a.toml") -> Layer:
    (tmp_path / name).write_text(text)
    return read_toml(tmp_path / name)


def test_defaults_alone() -> None:
    assert load(Schema, []) == Schema()


def test_later_layers_win(tmp_path: Path) -> None:
    first = toml(tmp_path, "seed = 1\ntitle = 'x'\n[optim]\nlr = 0.1\nmax_norm = 2\n")
    second = toml(tmp_path, "seed = 2\n[optim]\nlr = 0.2\n", "b.toml")
    config = load(Schema, [first, second, flags("--seed", "3")])
    assert (config.seed, config.title, config.optim) == (3, "x", Optim(lr=0.2, max_norm=2.0))


def test_invalid_value_of_an_early_layer_may_be_overridden(tmp_path: Path) -> None:
    early = toml(tmp_path, "[optim]\nlr = -1\n")
    assert load(Schema, [early, flags("--optim.lr", "1")]).optim.lr == 1.0
    with pytest.raises(ConfigError, match=r"optim\.lr must be positive"):
        load(Schema, [early])


@pytest.mark.parametrize(
    ("args", "name", "expected"),
    [
        (["--seed", "7"], "seed", 7),
        (["--seed=-7"], "seed", -7),
        (["--seed", "-7"], "seed", -7),
        (["--title", "a b"], "title", "a b"),
        (["--title="], "title", ""),
        (["--out", "/tmp/x"], "out", Path("/tmp/x")),
        (["--mode", "fast-mode"], "mode", Mode.FAST),
        (["--kind", "b"], "kind", "b"),
        (["--plugins", "a.py", "b.py"], "plugins", ("a.py", "b.py")),
        (["--plugins"], "plugins", ()),
        (["--limit", "4"], "limit", 4),
        (["--floor", "none"], "floor", None),
        (["--optim.max-norm", "1"], "optim", Optim(max_norm=1.0)),
        (["--optim.betas", "0.5", "0.6"], "optim", Optim(betas=(0.5, 0.6))),
        (["--shape.filled"], "shape", Disc(filled=True)),
        (["--shape.filled", "False"], "shape", Disc()),
        (["--shape.name", "box"], "shape", Box()),
        (["--shape", "box", "--shape.width", "9"], "shape", Box(width=9.0)),
        (["--shape.width", "9", "--shape", "box"], "shape", Box(width=9.0)),
    ],
)
def test_flags(args: list[str], name: str, expected: object) -> None:
    config = load(Schema, [flags(*args)])
    assert getattr(config, name) == expected
    assert type(getattr(config, name)) is type(expected)


def test_positional_words_and_switches() -> None:
    words, layer = read_flags(["a.toml", "--dry-run", "b.toml", "--seed", "1"], switches=["dry_run"])
    assert words == ["a.toml", "b.toml"]
    assert layer.values == {"dry_run": (), "seed": ("1",)}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--sed", "1"], "--sed: unknown setting: did you mean --seed?"),
        (["--optim.lrr", "1"], "--optim.lrr: unknown setting: did you mean --optim.lr?"),
        (["--max-norm", "1"], "--max-norm: unknown setting: did you mean --optim.max-norm?"),
        (["--opitm.lr", "1"], "--opitm: unknown setting: did you mean --optim?"),
        (
            ["--shape.width", "1"],
            "--shape.width: unknown setting of shape 'disc': choose from --shape.filled",
        ),
        (["--shape.name", "bax"], "--shape.name: unknown shape 'bax': did you mean 'box'?"),
        (["--seed", "x"], "--seed must be a whole number, got 'x'"),
        (["--seed", "1", "2"], "--seed must be one value, got '1 2'"),
        (["--seed"], "--seed must be one value, got ''"),
        (["--optim.lr", "abc"], "--optim.lr must be a number, got 'abc'"),
        (["--optim.betas", "1"], "--optim.betas must be a list of 2, got '1'"),
        (["--limit", "x"], "--limit must be a whole number or none, got 'x'"),
        (["--mode", "quick"], "--mode must be one of slow-mode, fast-mode, got 'quick'"),
        (["--shape.filled", "maybe"], "--shape.filled must be true or false, got 'maybe'"),
        (["--optim", "adam"], "--optim is a table of settings, not a value"),
        (["--optim.", "1"], "--optim. is not the name of a setting"),
    ],
)
def test_flag_errors_name_the_flag(args: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Schema, [flags(*args)])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "sed: unknown setting: did you mean seed?"),
        (
            "[optim]\nlearning_rate = 1",
            "optim.learning_rate: unknown setting: choose from optim.betas",
        ),
        ("[opitm]", "opitm: unknown setting"),
        ("seed = 1.0", "seed must be a whole number, got 1.0"),
        ("seed = true", "seed must be a whole number, got true"),
        ("seed = '1'", 'seed must be a whole number, got "1"'),
        ("plugins = 'a.py'", 'plugins must be a list, got "a.py"'),
        ("plugins = [1]", "plugins must be text, got [1]"),
        ("optim = 3", "optim is a table of settings, not a value"),
        ("[shape]\nname = 'bax'", "shape.name: unknown shape 'bax': did you mean 'box'?"),
    ],
)
def test_toml_errors_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Schema, [toml(tmp_path, text)])
    assert str(caught.value).startswith(f"{tmp_path}/a.toml: {message}")


def test_names_settled_elsewhere_are_suggested() -> None:
    with pytest.raises(ConfigError, match=r"did you mean --dry-run\?"):
        load(Schema, [flags("--dryrun")], also=["dry_run"])


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml: No such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML"):
        toml(tmp_path, "seed = ", "bad.toml")


def test_another_class_starts_from_its_own_defaults(tmp_path: Path) -> None:
    disc = toml(tmp_path, "[shape]\nname = 'disc'\nfilled = true\nradius = 3.0\n")
    assert load(Schema, [disc, flags("--shape.name", "disc")]).shape == Disc(filled=True, radius=3.0)
    assert load(Schema, [disc, flags("--shape.name", "box")]).shape == Box()


def test_a_table_without_a_name_is_for_whichever_class_is_chosen(tmp_path: Path) -> None:
    shape = toml(tmp_path, "[shape]\nfilled = true\nradius = 3.0\n")
    disc = toml(tmp_path, "[shape]\nname = 'disc'\nradius = 4.0\n", "b.toml")
    box = flags("--shape", "box")
    assert load(Schema, [shape]).shape == Disc(filled=True, radius=3.0)
    assert load(Schema, [shape, disc]).shape == Disc(filled=True, radius=4.0)
    assert load(Schema, [shape, box]).shape == load(Schema, [shape, disc, box]).shape == Box(filled=True)
    assert load(Schema, [shape, box, disc]).shape == Disc(filled=True, radius=4.0)
    with pytest.raises(ConfigError, match="unknown setting of shape 'box'"):
        load(Schema, [box, shape])


def test_required_settings() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Strict:
        path: Path
        shape: Annotated[Shape, shapes]

    with pytest.raises(ConfigError, match="path must be set"):
        load(Strict, [])
    with pytest.raises(ConfigError, match=r"shape\.radius|shape\.name must be set"):
        load(Strict, [flags("--path", "x", "--shape.radius", "1")])
    assert load(Strict, [flags("--path", "x", "--shape", "disc")]).shape == Disc()


ODD = Schema(
    title='quote " backslash \\ newline \n tab \t bell \x07 del \x7f snow ☃ 😀',
    out=Path("a b/c"),
    mode=Mode.FAST,
    plugins=("a.py", "b'.py"),
    limit=3,
    floor=None,
    optim=Optim(lr=1e-7, max_norm=1e30),
    shape=Box(filled=True),
)


@pytest.mark.parametrize("config", [Schema(), ODD])
def test_toml_round_trip(tmp_path: Path, config: Schema) -> None:
    (tmp_path / "c.toml").write_text(to_toml(config), encoding="utf-8")
    assert load(Schema, [read_toml(tmp_path / "c.toml")]) == config


def test_fingerprint_follows_the_values() -> None:
    assert fingerprint(Schema()) == fingerprint(Schema())
    assert fingerprint(Schema()) != fingerprint(Schema(seed=1))
    assert fingerprint(Schema()) != fingerprint(Schema(shape=Box()))


def test_a_class_without_its_methods_is_one_line() -> None:
    from sdar.envs.base import EnvSpec, envs
    from sdar.recipe import RunConfig

    @envs.register("unfinished")
    class Unfinished(EnvSpec):
        pass

    try:
        layer = Layer("a.toml", {"env": {"name": "unfinished"}})
        with pytest.raises(
            ConfigError, match=r"^class Unfinished lacks make, panel, panels, prompts, splits, tasks"
        ):
            load(RunConfig, [layer])
    finally:
        del envs._table["unfinished"]
