"""Recipes by name and by path, and the other files that come with the package."""

from pathlib import Path

import pytest

from sdar.errors import ConfigError
from sdar.settings.shipped import PACKAGE, about, find_file, read_recipe, recipes

RECIPES = PACKAGE / "recipes"


def test_names_are_paths_without_their_ending() -> None:
    assert recipes()["alfworld/published"] == RECIPES / "alfworld" / "published.toml"
    assert recipes()["models/qwen2.5-3b"] == RECIPES / "models" / "qwen2.5-3b.toml"
    assert len(recipes()) == len(list(RECIPES.rglob("*.toml")))


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
        ("recipes/alfworld/nothing.toml", "cannot read recipes/alfworld/nothing.toml"),
        ("none.toml", "cannot read none.toml"),
    ],
)
def test_what_is_no_recipe(word: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        read_recipe(word)


def test_every_recipe_says_what_it_is_for() -> None:
    for file in recipes().values():
        assert len(about(file)) > 20


def test_files_are_found_from_anywhere_and_the_users_own_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file("recipes/alfworld/published.toml") == RECIPES / "alfworld" / "published.toml"
    assert find_file("examples/my_objective.py").is_file()
    assert find_file("studies/skill_quality.toml").is_file()
    assert find_file("pyproject.toml") == Path("pyproject.toml")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "my_objective.py").touch()
    assert find_file("examples/my_objective.py") == Path("examples/my_objective.py")
