"""The picture and the table at the end of a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from sdar.envs.base import Panel
from sdar.errors import ConfigError
from sdar.report import curve, draw_learning_curve, result_table, results, smooth
from sdar.results import EvalResult, Outcome
from sdar.runlog import RunDir
from sdar.types import Task


def result(num_won: int, name: str = "p") -> EvalResult:
    tasks = [Task(f"{name}/{i}", "heat" if i % 4 else "cool") for i in range(20)]
    panel = Panel(name, tasks)
    outcomes = tuple(
        Outcome(
            task=task.id,
            kind=task.kind,
            success=(i < num_won,),
            reward=(1.0,),
            turns=(2,),
            invalid=(0,),
            truncated=(i >= num_won,),
            tokens=(9,),
        )
        for i, task in enumerate(tasks)
    )
    return EvalResult(
        panel=name,
        fingerprint=panel.fingerprint,
        samples=1,
        temperature=0.4,
        seed=0,
        skills="",
        outcomes=outcomes,
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path, "toy", "")
    for step in range(7):
        run.log_metrics(step, {"rollout/success": step / 10} if step else {"eval/success": 0.2})
        if step % 3 == 0:
            run.write_eval(step, result(4 + step).to_json())
    return run


def text_of(table: object) -> str:
    console = Console(width=110)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def colours(path: Path) -> set[tuple[int, ...]]:
    pixels = (imread(path)[..., :3] * 255).astype(int).reshape(-1, 3)
    return set(map(tuple, np.unique(pixels, axis=0)))


def test_curve_leaves_out_what_is_missing_or_not_finite() -> None:
    steps, values = curve([{"step": 1, "a": 0.5}, {"step": 2}, {"step": 3, "a": np.nan}], "a")
    assert (steps.tolist(), values.tolist()) == ([1.0], [0.5])
    assert len(curve([], "a")[0]) == 0


def test_smoothing_keeps_constants_and_ends() -> None:
    assert smooth(np.full(9, 3.0)).tolist() == pytest.approx([3.0] * 9)
    assert smooth(np.arange(3.0)).tolist() == pytest.approx([0.5, 1.0, 1.5])
    assert len(smooth(np.arange(2.0))) == 2


def test_learning_curve_shows_training_and_panel(run: RunDir) -> None:
    path = draw_learning_curve(run)
    assert path == run.learning_curve
    assert {(224, 159, 62), (11, 83, 148)} <= colours(path)
    assert not list(run.path.glob(".learning_curve*"))
    without_gap = imread(path).shape
    run.log_metrics(7, {"teacher/gap_mean": 0.1, "sdar/gate_mean": 0.6})
    run.log_metrics(8, {"teacher/gap_mean": 0.2, "sdar/gate_mean": 0.5})
    with_gap = draw_learning_curve(run)
    assert imread(with_gap).shape[0] > without_gap[0]
    assert {(180, 83, 9), (47, 125, 79)} <= colours(with_gap)


def test_learning_curve_of_an_empty_run(tmp_path: Path) -> None:
    assert draw_learning_curve(RunDir.create(tmp_path, "empty", "")).exists()


def test_table_before_and_after(run: RunDir) -> None:
    evals = results(run)
    assert list(evals) == [0, 3, 6]
    text = text_of(result_table(evals[0], evals[6]))
    lines = [line.split() for line in text.splitlines()]
    assert ["cool", "5", "20.0", "%", "60.0", "%", "+40.0"] in lines
    assert ["heat", "15", "20.0", "%", "46.7", "%", "+26.7"] in lines
    assert next(line for line in lines if line[:1] == ["all"])[1:4] == ["20", "20.0", "%"]
    assert "+30.0 [+" in text
    assert ["mean", "of", "kinds", "20.0", "%", "53.3", "%", "+33.3"] in lines


def test_table_of_one_result() -> None:
    lines = [line.split() for line in text_of(result_table(result(10))).splitlines()]
    assert ["all", "20", "50.0", "%", "[29.9,", "70.1]"] in lines
    assert ["mean", "of", "kinds", "53.3", "%"] in lines


def test_kinds_of_one_size_need_no_mean_of_their_own() -> None:
    even = result(10)
    even = replace(even, outcomes=even.outcomes[:8:4] + even.outcomes[1:3])
    assert "mean of kinds" not in text_of(result_table(even))


def test_table_refuses_different_panels() -> None:
    with pytest.raises(ConfigError, match="different panels"):
        result_table(result(4), result(4, name="q"))
