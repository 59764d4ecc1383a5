"""The package's baselines come out of a study's result files."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sdar.evaluation.baseline import baseline_line, baselines, conditions
from sdar.model.load import weights_digest
from sdar.recipe import load_config
from sdar.settings.config import Layer, to_table
from sdar.settings.shipped import read_recipes

STUDIES = Path(__file__).parents[3] / "studies"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the baselines of a study into a file."""
    monkeypatch.syspath_prepend(str(STUDIES))
    module = importlib.import_module("baselines")

    def write(study: str) -> Path:
        module.write([STUDIES / f"{study}.toml"], tmp_path / "made.json")
        return tmp_path / "made.json"

    return write


def test_grpo_of_the_study_is_shown_beside_a_run_from_its_model(write: Callable[[str], Path]) -> None:
    file = write("when_it_helps")
    assert [each.conditions["train.steps"] for each in baselines(file)] == [30]
    config = load_config({"train.steps": 30})
    weights = weights_digest(STUDIES / "models" / "when_it_helps")
    line = baseline_line(conditions(to_table(config), config.panel.fingerprint), lambda: weights, file)
    assert (
        "30.5 % before, 43.4 % [38.0, 48.8] trained (2 seeds; sdar study studies/when_it_helps.toml" in line
    )


def test_a_run_of_the_recipe_that_made_a_studys_model_is_shown_its_grpo(
    write: Callable[[str], Path],
) -> None:
    file = write("when_it_helps_search_qa")
    config = load_config([*read_recipes(["search_qa/embedded"]), Layer("test", {"train": {"steps": 30}})])
    line = baseline_line(conditions(to_table(config), config.panel.fingerprint), str, file)
    assert "36.3 % before, 81.5 % [75.4, 87.6] trained (5 seeds" in line
