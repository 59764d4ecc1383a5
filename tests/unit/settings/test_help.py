"""`--help` names every setting, what it takes and its value now."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

import pytest

from sdar.recipe import RunConfig
from sdar.settings.config import settings_of
from sdar.settings.help import field_docs, help_text, metavar
from sdar.settings.registry import Registry


class Kind(StrEnum):
    FAST = "fast"
    SLOW = "slow"


class Base:
    """What can be chosen."""


shapes: Registry[type[Base]] = Registry("shape")


@shapes.register("disc")
@dataclass(frozen=True, kw_only=True)
class Disc(Base):
    size: float = 0.5
    """Its radius,
    in 100 % metres."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    dry_run: bool = False
    """Only check."""
    kind: Kind = Kind.SLOW
    """How fast."""
    names: tuple[str, ...] = ("a", "b")
    limit: int | None = None
    """At most so many."""
    shape: Annotated[Base, shapes] = field(default_factory=Disc)
    """What it is."""


def test_every_setting_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = help_text("sdar x [--FLAGS]", "One.\n\nTwo, over\ntwo lines.", Settings(shape=Disc(size=2.0)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[:5] == ["usage: sdar x [--FLAGS]", "", "One.", "", "Two, over two lines."]
    for line in (
        "--dry-run Only check.",
        "--kind {fast,slow} How fast. (default: slow)",
        "--names TEXT ... (default: a b)",
        "--limit INT|none At most so many. (default: none)",
        "What it is. (default: disc)",
        "--shape.size FLOAT Its radius, in 100 % metres. (default: 2.0)",
    ):
        assert line in lines


def test_help_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, help_text("sdar x", "Words " * 40, RunConfig()).splitlines())) <= 80


def test_every_setting_of_a_run_says_what_it_is_for() -> None:
    def check(settings: object) -> None:
        docs = field_docs(type(settings))
        for name, (entry, _) in settings_of(type(settings)).items():
            value = getattr(settings, entry.name)
            assert entry.name in docs, f"{type(settings).__name__}.{name} has no docstring"
            if hasattr(value, "__dataclass_fields__"):
                check(value)

    check(RunConfig())


def test_a_flag_says_what_it_takes() -> None:
    assert metavar(tuple[float, float]) == "FLOAT FLOAT"
    assert metavar(Literal["cpu", "cuda"]) == "{cpu,cuda}"
