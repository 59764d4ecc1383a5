"""What GRPO alone reached is shown beside a run with the same panel, start and budget only."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdar.evaluation.baseline import Baseline, baseline_line, baselines, conditions
from sdar.evaluation.results import Interval
from sdar.recipe import load_config
from sdar.settings.config import to_table

GIVEN = {"train.steps": 30, "warm_start.wordings": 3}


def own(**more: Any) -> dict[str, Any]:
    config = load_config({**GIVEN, **more})
    return conditions(to_table(config), config.panel.fingerprint)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    short = Baseline(
        conditions=own(),
        weights="abc",
        before=0.3,
        success=Interval(0.434, 0.38, 0.488),
        seeds=(10, 11),
        command="sdar study x.toml",
        commit="0d962a3",
    )
    long = replace(short, conditions=own(**{"train.steps": 60}), success=Interval(0.5, 0.4, 0.6))
    path = tmp_path / "baselines.json"
    path.write_text(json.dumps({"baselines": [short.to_json(), long.to_json()]}))
    return path


def test_the_same_budget_from_the_same_start_is_shown(file: Path) -> None:
    assert baseline_line(own(objective="grpo-opsd", **{"train.seed": 7, "optim.lr": 0.1}), str, file) == (
        "GRPO alone, from such a start and in as many steps: 30.0 % before, 43.4 % [38.0, 48.8] trained "
        "(2 seeds; sdar study x.toml, at 0d962a3)"
    )
    assert "50.0 % [40.0, 60.0]" in baseline_line(own(**{"train.steps": 60}), str, file)


def test_weights_that_were_given_stand_for_how_they_were_made(file: Path) -> None:
    assert "43.4 %" in baseline_line(own(**{"warm_start.wordings": 1}), lambda: "abc", file)
    assert baseline_line(own(), lambda: "def", file).endswith("it is for starting model")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"train.steps": 31}, "train.steps 30"),
        ({"warm_start.wordings": 1}, "warm_start.wordings 3"),
        ({"env.max_turns": 9}, "env.max_turns 20"),
        ({"rollout.group_size": 4}, "rollout.group_size 8"),
        ({"eval.temperature": 1.0}, "eval.temperature 0.4"),
    ],
)
def test_another_budget_game_or_start_is_told(change: dict[str, Any], told: str, file: Path) -> None:
    assert baseline_line(own(**change), str, file) == (
        f"what GRPO alone reaches is not stored for this run: it is for {told}"
    )


def test_another_panel_has_nothing_to_say(file: Path) -> None:
    def digest() -> str:
        raise AssertionError("a large model would be read for nothing")

    assert baseline_line(own(**{"eval.tasks": 24}), digest, file) == ""


def test_those_of_the_package_are_of_runs_that_a_user_can_make() -> None:
    """A baseline whose settings no run has would never be shown."""
    for each in baselines():
        asked = {name: value for name, value in each.conditions.items() if name != "panel"}
        config = load_config(asked)
        assert conditions(to_table(config), config.panel.fingerprint) == each.conditions
        assert each.success.low < each.success.value < each.success.high
        assert len(set(each.seeds)) > 1
