"""Recipes by name and by path."""

from pathlib import Path

import pytest

from sdar.errors import ConfigError
from sdar.settings.recipes import HOME, about, read_recipe, shipped


def test_names_are_paths_without_their_ending() -> None:
    assert shipped()["alfworld/published"] == HOME / "alfworld" / "published.toml"
    assert shipped()["models/qwen2.5-3b"] == HOME / "models" / "qwen2.5-3b.toml"
    assert len(shipped()) == len(list(HOME.rglob("*.toml")))


def test_a_name_a_last_part_and_a_path(tmp_path: Path) -> None:
    assert read_recipe("alfworld/published").values["env"]["name"] == "alfworld"
    assert read_recipe("qwen3-1.7b").values == read_recipe("models/qwen3-1.7b").values
    (tmp_path / "mine.toml").write_text("[optim]\nlr = 0.5\n")
    assert read_recipe(str(tmp_path / "mine.toml")).values == {"optim": {"lr": 0.5}}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("published", "several recipes are named 'published': choose from alfworld/published, "),
        ("alfworld/publishd", "did you mean 'alfworld/published'"),
        ("qwen2.5-3", "did you mean 'qwen2.5-3b'"),
        ("zzz", "sdar list recipes shows them; a file's name ends in .toml"),
        ("recipes/alfworld/published.toml", "the recipe that comes with sdar is named 'alfworld/published'"),
        ("none.toml", "cannot read none.toml"),
    ],
)
def test_what_is_no_recipe(word: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        read_recipe(word)


def test_every_recipe_says_what_it_is_for() -> None:
    for file in shipped().values():
        assert len(about(file)) > 20
