"""Recipes by name and by path, and the other files that come with the package."""

import re
from pathlib import Path

import pytest

from sdar.errors import ConfigError
from sdar.recipe import load_config
from sdar.settings.shipped import PACKAGE, about, find_file, read_recipes, recipes

RECIPES = PACKAGE / "recipes"


def test_names_are_paths_without_their_ending() -> None:
    assert recipes()["alfworld/published"] == RECIPES / "alfworld" / "published.toml"
    assert recipes()["models/qwen2.5-3b"] == RECIPES / "models" / "qwen2.5-3b.toml"
    assert len(recipes()) == len(list(RECIPES.rglob("*.toml")))


def test_a_name_a_last_part_and_a_path(tmp_path: Path) -> None:
    assert read_recipes(["alfworld/published"])[0].values["env"]["name"] == "alfworld"
    assert read_recipes(["qwen3-1.7b"]) == read_recipes(["models/qwen3-1.7b"])
    (tmp_path / "mine.toml").write_text("[optim]\nlr = 0.5\n")
    assert [layer.values for layer in read_recipes([str(tmp_path / "mine.toml")])] == [{"optim": {"lr": 0.5}}]


def test_a_recipe_starts_from_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bases come before, in their order; a path is seen from the recipe, also from another directory."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "rates.toml").write_text("optim.lr = 0.5\nmodel.lora_rank = 2\n")
    (folder / "mine.toml").write_text('base = ["smollm2-135m", "rates.toml"]\noptim.lr = 0.25\n')
    monkeypatch.chdir(tmp_path)
    layers = read_recipes(["lab/mine.toml"])
    assert [layer.source for layer in layers] == ["models/smollm2-135m", "lab/rates.toml", "lab/mine.toml"]
    config = load_config(layers)
    assert (config.optim.lr, config.model.lora_rank, config.optim.micro_tokens) == (0.25, 2, 4096)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ('"b.toml"', "a.toml: base: b.toml: base: a.toml starts from itself"),
        ('"a.toml"', "a.toml: base: a.toml starts from itself"),
        ('"smollm2-135"', "a.toml: base: there is no recipe 'smollm2-135': did you mean 'smollm2-135m'"),
        ("3", "a.toml: base must be a list, got 3"),
    ],
)
def test_what_is_no_base(base: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(f"base = {base}\n")
    Path("b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        read_recipes(["a.toml"])


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
        read_recipes([word])


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
