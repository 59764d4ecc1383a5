"""The picture at the end of a run."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from tests.outcomes import result_of

from sdar.evaluation.curves import curve, draw_learning_curve, smooth
from sdar.runs.rundir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path, "toy", "")
    for step in range(7):
        run.log_metrics(step, {"rollout/success": step / 10} if step else {"eval/success": 0.2})
        if step % 3 == 0:
            run.write_eval(step, result_of([[i < 4 + step] for i in range(20)]).to_json())
    return run


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
