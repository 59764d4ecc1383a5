"""The adapter of the official engine, without the engine."""

import sys
from pathlib import Path

import pytest

from sdar.envs.alfworld import textworld
from sdar.envs.alfworld.engine import Kind, Rules
from sdar.envs.alfworld.game import GameText
from sdar.errors import ConfigError

TEXT = GameText("kitchen", Kind.PUT, "put some mug on sidetable", "", Rules.V2_1_2)


@pytest.fixture(autouse=True)
def _forget_releases() -> None:
    textworld._release.cache_clear()


def test_missing_packages_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textworld, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'sdar\[textworld\]'"):
        textworld.TextWorldEpisode(TEXT)


def test_an_engine_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textworld", None)
    with pytest.raises(ConfigError, match=r"pip install 'sdar\[textworld\]'"):
        textworld._engine()


def test_a_package_with_other_rules_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/alfred.pddl").write_text("(define (domain alfred))")
    (tmp_path / "data/alfred.twl2").write_text("")
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(textworld, "find_spec", lambda name: spec)
    for rules in Rules:
        with pytest.raises(ConfigError, match=f"rules of release {rules}"):
            textworld.TextWorldEpisode(TEXT, rules)
