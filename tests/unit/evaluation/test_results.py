"""What an evaluation found: intervals, paired differences, JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sdar.envs.base import Panel
from sdar.errors import ConfigError, DataError
from sdar.evaluation.results import EvalResult, Outcome, difference, rate_interval, wilson
from sdar.types import Task


def run(skill: float = 0.5, samples: int = 1, name: str = "p") -> EvalResult:
    """Forty tasks, each sample won with chance `skill`; the same random numbers for every `skill`."""
    panel = Panel(name, [Task(f"{name}/{i}", "heat") for i in range(40)])
    won = np.random.default_rng(0).random((40, samples)) < skill
    outcomes = tuple(
        Outcome(
            task=task.id,
            kind=task.kind,
            success=tuple(map(bool, row)),
            reward=tuple(map(float, row)),
            turns=(2,) * samples,
            invalid=(1,) * samples,
            truncated=tuple(bool(not x) for x in row),
            tokens=(9,) * samples,
            metrics={"score": tuple(x / 2 for x in map(float, row))},
        )
        for task, row in zip(panel.tasks, won, strict=True)
    )
    return EvalResult(
        panel=name,
        fingerprint=panel.fingerprint,
        samples=samples,
        temperature=0.4,
        seed=0,
        skills="",
        outcomes=outcomes,
    )


def test_json_round_trip() -> None:
    result = run(samples=2)
    data = json.loads(json.dumps(result.to_json()))
    assert EvalResult.from_json(data) == result
    assert data["summary"]["success"] == result.success.value
    assert data["panel"] == "p"
    with pytest.raises(DataError, match="format 3"):
        EvalResult.from_json(data | {"format": 3})


def test_results_of_format_1_had_no_metrics() -> None:
    data = json.loads(json.dumps(run().to_json())) | {"format": 1}
    for outcome in data["outcomes"]:
        del outcome["metrics"]
    old = EvalResult.from_json(data)
    assert old.metrics == {}
    assert old.success == run().success


def test_metrics_are_means_over_episodes() -> None:
    result = run(samples=2)
    assert result.summary["score"] == result.metrics["score"] == pytest.approx(result.success.value / 2)


def test_kinds_of_different_size_count_the_same_in_the_macro_average() -> None:
    result = run()
    first, *rest = result.outcomes
    rest = [replace(outcome, success=(True,)) for outcome in rest]
    two_kinds = replace(result, outcomes=(replace(first, kind="cool", success=(False,)), *rest))
    assert two_kinds.summary["success_macro"] == 0.5
    assert two_kinds.summary["success"] == 39 / 40


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962), (1, 140, 0.0013, 0.0394)],
)
def test_wilson_against_tables(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson(successes, trials)
    assert interval.value == successes / trials
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


def test_bootstrap_is_over_tasks() -> None:
    """Ten copies of each task's outcome must not make the interval narrower."""
    outcomes = np.random.default_rng(0).random(100) < 0.4
    one = rate_interval([[bool(x)] for x in outcomes])
    ten = rate_interval([[bool(x)] * 10 for x in outcomes])
    assert ten.value == pytest.approx(one.value)
    assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=0.1)


def test_bootstrap_covers() -> None:
    """The interval holds the true rate in about 95 % of panels (task difficulties uniform in 0 to 1)."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        rates = rng.random((100, 1))
        interval = rate_interval((rng.random((100, 4)) < rates).tolist())
        hits += interval.low <= 0.5 <= interval.high
    assert 88 <= hits <= 100


def test_tasks_without_spread_keep_an_interval() -> None:
    assert rate_interval([[True] * 4] * 20) == wilson(20, 20)
    assert rate_interval([[True, False]] * 20) == wilson(10, 20)


def test_pass_at_k() -> None:
    result = run(samples=4)
    assert result.pass_at(1) == pytest.approx(result.success.value)
    assert result.pass_at(4) == pytest.approx(np.mean([any(o.success) for o in result.outcomes]))
    assert result.pass_at(1) < result.pass_at(2) < result.pass_at(4)
    with pytest.raises(ConfigError, match="pass@5 needs at least 5"):
        result.pass_at(5)


def test_difference_is_paired() -> None:
    weak, strong = run(skill=0.4, samples=4), run(skill=0.7, samples=4)
    gain = difference(weak, strong)
    assert gain.value == pytest.approx(strong.success.value - weak.success.value)
    assert 0 < gain.low < gain.value < gain.high
    assert difference(weak, weak) == (0.0, 0.0, 0.0)


def test_other_panels_are_refused() -> None:
    with pytest.raises(ConfigError, match="different panels"):
        difference(run(), run(name="q"))
