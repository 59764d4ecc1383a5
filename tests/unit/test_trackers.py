"""Trackers take metrics and never stop a run."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sdar.errors import ConfigError
from sdar.trackers import Trackers, trackers


def scalars(directory: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(directory / "tensorboard"))
    events.Reload()
    return [(event.step, round(event.value, 6)) for event in events.Scalars("a/b")]


def test_tensorboard_events(tmp_path: Path) -> None:
    tracker = Trackers(["tensorboard"], tmp_path, 1)
    for step in (1, 2, 3):
        tracker.log(step, {"a/b": step / 2})
    tracker.close()
    assert scalars(tmp_path) == [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_a_resumed_run_voids_later_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for start, value in ((1, 0.0), (3, 9.0)):
        monkeypatch.setattr("time.time", lambda now=float(start): now)
        tracker = Trackers(["tensorboard"], tmp_path, start)
        for step in range(start, 5):
            tracker.log(step, {"a/b": value})
        tracker.close()
    assert scalars(tmp_path) == [(1, 0.0), (2, 0.0), (3, 9.0), (4, 9.0)]


def test_a_crash_drops_the_tracker_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __init__(self, directory: Path, first_step: int) -> None:
            self.calls = 0

        def log(self, step: int, metrics: dict[str, float]) -> None:
            raise RuntimeError("no connection")

        def close(self) -> None:
            raise AssertionError("a dropped tracker is not closed")

    table = trackers._table
    table["broken"] = Broken
    try:
        tracker = Trackers(["broken", "tensorboard"], tmp_path, 1)
        tracker.log(1, {"a/b": 0.5})
        tracker.log(2, {"a/b": 0.75})
        tracker.close()
    finally:
        del table["broken"]
    assert scalars(tmp_path) == [(1, 0.5), (2, 0.75)]
    assert caplog.text.count("tracker broken failed; the run goes on without it") == 1


def test_a_tracker_that_cannot_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    Trackers(["tensorboard"], tmp_path / "file", 1).log(1, {"a": 1.0})
    assert "tracker tensorboard cannot start" in caplog.text


def test_an_unknown_tracker_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tensorboard'"):
        Trackers(["tensorbord"], tmp_path, 1)
