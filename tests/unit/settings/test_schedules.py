"""Schedules: values by hand, and what is not one."""

import pytest

from sdar.errors import ConfigError
from sdar.objectives.grpo import GRPO
from sdar.settings.config import Layer, load, to_table
from sdar.settings.schedules import parse
from sdar.settings.values import Words


@pytest.mark.parametrize(
    ("text", "steps", "values"),
    [
        (0.3, 10, {0: 0.3, 9: 0.3}),
        ("constant:0.3:0", 10, {0: 0.3, 9: 0.3}),
        ("linear:1:0", 10, {0: 1.0, 5: 0.5, 9: 0.1}),
        ("linear:0:0.5", 10, {0: 0.0, 4: 0.2}),
        ("linear:0.5:0@0:100", 150, {0: 0.5, 50: 0.25, 100: 0.0, 149: 0.0}),
        ("linear:0.5:0@0:100", 20, {10: 0.45}),  # steps are steps, however long the run is
        ("linear:4:2@25%:75%", 200, {0: 4.0, 50: 4.0, 100: 3.0, 150: 2.0, 199: 2.0}),
        ("cosine:1:0", 4, {0: 1.0, 1: (1 + 2**-0.5) / 2, 2: 0.5, 3: (1 - 2**-0.5) / 2}),
        ("warm-down:1:0.5", 10, {0: 1.0, 8: 1.0, 9: 0.75}),
        ("linear:-1e-2:+2.5E1@10:20", 1, {15: 12.495}),
    ],
)
def test_by_hand(text: float | str, steps: int, values: dict[int, float]) -> None:
    for step, value in values.items():
        assert parse(text).at(step, steps) == pytest.approx(value, abs=1e-12), step


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linear", "neither a number nor a schedule"),
        ("linear:1", "neither a number nor a schedule"),
        ("linear:1:0@50%", "neither a number nor a schedule"),
        ("cosin:1:0", "did you mean 'cosine'"),
        ("linear:1:--", "could not convert"),
        ("linear:1:0@50%:100", "both in steps or both in percent"),
        ("linear:1:0@100:50", "must end after it begins"),
        ("linear:1:0@0%:120%", "must end after it begins"),
    ],
)
def test_what_is_not_a_schedule(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_a_coefficient_of_a_recipe_or_a_flag_is_a_number_or_text() -> None:
    assert load(GRPO, [Layer("a.toml", {"kl_coef": 1})]).kl_coef == 1.0
    made = load(GRPO, [Layer("--", {"kl_coef": Words(["cosine:0.01:0"]), "pg_coef": Words(["2e-1"])})])
    assert (made.kl_coef, made.pg_coef) == ("cosine:0.01:0", 0.2)
    assert load(GRPO, [Layer("again", to_table(made))]) == made
