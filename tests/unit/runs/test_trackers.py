"""Trackers take metrics, go on where a resumed run goes on, and never stop a run."""

import importlib.util
import json
import math
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sdar.errors import ConfigError
from sdar.runs.rundir import RunDir
from sdar.runs.trackers import Tracker, Trackers, check_trackers, trackers


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "run", "[train]\nsteps = 4\n")


def log_steps(run: RunDir, name: str, first: int, last: int) -> None:
    """What a run does from `first` to `last`."""
    tracker = Trackers([name], run, first)
    for step in range(first, last + 1):
        tracker.log(step, {"a/b": step / 2, "c": math.nan})
    tracker.close()


def scalars(run: RunDir) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return [(event.step, round(event.value, 6)) for event in events.Scalars("a/b")]


def test_tensorboard_voids_what_a_resumed_run_repeats(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    for first, last in ((1, 4), (3, 5)):
        monkeypatch.setattr("time.time", lambda now=float(first): now)
        log_steps(run, "tensorboard", first, last)
    assert scalars(run) == [(step, step / 2) for step in range(1, 6)]


def wandb_histories(run: RunDir) -> Iterator[tuple[str, int, float]]:
    """Run id, step and value of `a/b` of all that W&B keeps offline, read as `wandb sync` does."""
    from wandb.proto.wandb_internal_pb2 import Record

    for file in sorted(
        run.path.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns
    ):
        data, place, run_id = file.read_bytes(), 7, ""
        while place + 7 < len(data):
            _, size, _ = struct.unpack("<IHB", data[place : place + 7])
            if place + 7 + size > len(data):
                break
            record = Record.FromString(data[place + 7 : place + 7 + size])
            place += 7 + size
            run_id = record.run.run_id or run_id
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            if "a/b" in items:
                yield run_id, record.history.step.num, json.loads(items["a/b"])


def test_wandb_offline(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    log_steps(run, "wandb", 1, 2)
    log_steps(run, "wandb", 3, 4)
    deadline = time.monotonic() + 60  # W&B's own process may write for a while yet
    while len(list(wandb_histories(run))) < 4 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list(wandb_histories(run)) == [(run.id, step, step / 2) for step in (1, 2, 3, 4)]


def test_mlflow_in_the_run_directory(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    log_steps(run, "mlflow", 1, 3)
    log_steps(run, "mlflow", 3, 4)

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run.path / 'mlflow.db'}")
    [found] = client.search_runs([client.get_experiment_by_name("sdar").experiment_id])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert found.data.params == {"train.steps": "4"}
    history = client.get_metric_history(found.info.run_id, "a/b")
    assert {metric.step: metric.value for metric in history} == {1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0}


@pytest.mark.parametrize("method", ["__init__", "log", "close"])
def test_a_crash_drops_the_tracker_only(
    method: str, run: RunDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Tracker):
        def __init__(self, run: RunDir, first_step: int) -> None: ...

        def log(self, step: int, metrics: object) -> None: ...

        def close(self) -> None:
            assert method != "log", "a dropped tracker is not closed"

    def crash(*args: object) -> None:
        raise RuntimeError("no connection")

    monkeypatch.setattr(Broken, method, crash)
    monkeypatch.setitem(trackers._table, "broken", Broken)
    tracker = Trackers(["broken", "tensorboard"], run, 1)
    for step in (1, 2):
        tracker.log(step, {"a/b": step / 2})
    tracker.close()
    assert scalars(run) == [(1, 0.5), (2, 1.0)]
    assert caplog.text.count("RuntimeError: no connection") == 1
    assert "tracker broken" in caplog.text


def test_an_unknown_tracker_is_an_error() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where W&B's own directory lies on the import path under the package's name."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "alembic" else find(name))
    with pytest.raises(ConfigError, match=r"tracker 'mlflow' needs alembic: pip install 'sdar\[mlflow\]'"):
        check_trackers(["tensorboard", "mlflow"])
    (tmp_path / "offline_runs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trackers["wandb"], "packages", ("offline_runs",))
    with pytest.raises(ConfigError, match="needs offline_runs"):
        check_trackers(["wandb"])
