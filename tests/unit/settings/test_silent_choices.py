"""What is accepted takes effect; what cannot take effect is refused, in one line that names the setting."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from sdar.build.checks import check
from sdar.errors import ConfigError
from sdar.objectives.base import objectives
from sdar.recipe import RunConfig, load_config
from sdar.settings.config import Layer, read_toml
from sdar.settings.values import Words, by_path
from sdar.trainer.settings import OptimConfig


def load(settings: dict[str, Any]) -> RunConfig:
    return load_config([Layer("a.toml", settings)])


def nested(path: str, value: object) -> dict[str, Any]:
    """A table with one value at a dotted path."""
    *tables, leaf = path.split(".")
    out: dict[str, Any] = {leaf: value}
    for table in reversed(tables):
        out = {table: out}
    return out


def float_settings() -> Iterator[str]:
    """Every setting of the default run and of every objective that holds a number."""

    def walk(config: Any, prefix: str) -> Iterator[str]:
        for field in fields(config):
            value = getattr(config, field.name)
            if is_dataclass(value):
                yield from walk(value, f"{prefix}{field.name}.")
            elif type(value) is float:
                yield f"{prefix}{field.name}"

    yield from walk(RunConfig(), "")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("path", float_settings())
def test_no_setting_is_nan_or_infinite(path: str, value: float) -> None:
    with pytest.raises(ConfigError, match="finite") as caught:
        load(nested(path, value))
    assert path.rpartition(".")[2] in str(caught.value)


@pytest.mark.parametrize("name", objectives)
def test_nor_is_one_of_an_objective(name: str) -> None:
    numbers = [f.name for f in fields(objectives[name]) if type(f.default) is float]
    for field in numbers:
        with pytest.raises(ConfigError, match=rf"{field}.*finite"):
            load({"objective": {"name": name, field: math.nan}})


@pytest.mark.parametrize("coef", ["linear:nan:0", "linear:1:1e999", "cosine:inf:0"])
def test_nor_is_a_schedule(coef: str) -> None:
    with pytest.raises(ConfigError, match="schedule"):
        load({"objective": {"name": "sdar", "coef": coef}})


def test_settings_made_in_python_are_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"optim\.lr must be at least 0, not nan"):
        OptimConfig(lr=math.nan)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("train.eval_every", -3, "train.eval_every must be at least 0, not -3"),
        ("train.record", -1, "train.record must be at least 0, not -1"),
        ("train.seed", -1, "train.seed must be at least 0, not -1"),
        ("checkpoint.keep", 0, "checkpoint.keep must be at least 1, not 0"),
        ("optim.betas", [0.9, 1.0], "optim.betas must be at least 0 and below 1"),
        ("warm_start.plain_noise", 1.5, "warm_start.plain_noise must be between 0 and 1"),
        ("train.steps", 10**100, "a whole number of at most 63 bits, got one of 333 bits"),
        ("train.steps", "x" * 10_000, "must be a whole number, got \"xxx"),
        ("optim.lr", 10**400, "must be a number"),
    ],
)  # fmt: skip
def test_refused(path: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(nested(path, value))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "..", ".", "a\nb", "a\\b"])
def test_a_run_stays_where_runs_go(name: str) -> None:
    with pytest.raises(ConfigError, match="must be that of one directory"):
        check(load({"name": name}))


def test_a_retriever_that_would_never_be_asked_is_refused() -> None:
    settings = {"env": {"name": "search_qa", "retriever": "http"}, "skills": {"bank": "search_qa"}}
    with pytest.raises(ConfigError, match="'http' would make no search"):
        check(load(settings))


def test_a_number_of_thousands_of_digits(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got one of 16610 bits"):
        load({"train": {"steps": 10**5000}})
    with pytest.raises(ConfigError, match=r"train\.steps must be a whole number"):
        load({"train": {"steps": Words(["9" * 5000])}})
    (tmp_path / "big.toml").write_text(f"[train]\nsteps = {'9' * 5000}\n")
    with pytest.raises(ConfigError, match=r"big\.toml"):
        read_toml(tmp_path / "big.toml")


def test_paths_name_the_settings() -> None:
    assert dict(by_path(nested("a.b.c", 1))) == {"a.b.c": 1}
