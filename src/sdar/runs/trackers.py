"""Where metrics go besides `metrics.jsonl`. A tracker that fails is dropped; the run goes on."""

import importlib.util
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from sdar.errors import ConfigError
from sdar.runs.rundir import RunDir
from sdar.settings.registry import Registry
from sdar.settings.values import by_path

log = logging.getLogger(__name__)


class Tracker(ABC):
    """Takes metrics. It may raise anywhere: it is then dropped, and the run goes on."""

    packages: ClassVar[Sequence[str]] = ()
    """Modules that the extra with the tracker's name installs."""

    @abstractmethod
    def __init__(self, run: RunDir, first_step: int) -> None:
        """Start, or go on with the same run; what is held of `first_step` and later is void."""

    @abstractmethod
    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take one step's metrics."""

    @abstractmethod
    def close(self) -> None:
        """Write out what is held."""


trackers: Registry[type[Tracker]] = Registry("tracker")


def check_trackers(names: Sequence[str]) -> None:
    """Raise `ConfigError` for a name that is unknown or whose packages are missing."""
    for name in names:
        missing = [package for package in trackers[name].packages if not _is_installed(package)]
        if missing:
            raise ConfigError(f"tracker '{name}' needs {', '.join(missing)}: pip install 'sdar[{name}]'")


@trackers.register("tensorboard")
class TensorBoard(Tracker):
    """TensorBoard events in RUN/tensorboard."""

    def __init__(self, run: RunDir, first_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(run.path / "tensorboard"))
        start = Event(step=first_step, session_log=SessionLog(status=SessionLog.START))
        self._writer.add_event(start)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take one step's metrics."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._writer.add_event(Event(step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Write out what is held."""
        self._writer.close()


@trackers.register("wandb")
class WandB(Tracker):
    """Weights & Biases, set up by its own variables; WANDB_MODE=offline keeps all in RUN/wandb.

    A resumed run goes on under the same id. Steps that W&B has already stay as they are, which changes
    nothing: a resumed run repeats their numbers.
    """

    packages = ("wandb",)

    def __init__(self, run: RunDir, first_step: int) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "sdar"),
            name=run.path.name,
            id=run.id,
            resume="allow",
            dir=run.path,
            config=run.settings,
            settings=wandb.Settings(console="off"),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take one step's metrics."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Write out what is held."""
        self._run.finish()


@trackers.register("mlflow")
class MLflow(Tracker):
    """MLflow at MLFLOW_TRACKING_URI, or else in the SQLite file RUN/mlflow.db.

    A resumed run is found by its tag `sdar.id`. Steps that MLflow has already get a second, newer value.
    """

    packages = ("mlflow", "sqlalchemy", "alembic")

    def __init__(self, run: RunDir, first_step: int) -> None:
        from mlflow import MlflowClient

        local = f"sqlite:///{(run.path / 'mlflow.db').absolute()}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "sdar")
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        found = self._client.search_runs([experiment], f"tags.`sdar.id` = '{run.id}'")
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        made = self._client.create_run(experiment, tags={"sdar.id": run.id}, run_name=run.path.name)
        self._id = made.info.run_id
        for setting, value in by_path(run.settings):
            self._client.log_param(self._id, setting, value)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take one step's metrics."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = [Metric(name, value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._id, metrics=values)

    def close(self) -> None:
        """Write out what is held."""
        self._client.set_terminated(self._id)


class Trackers:
    """Several trackers as one that never raises."""

    def __init__(self, names: Sequence[str], run: RunDir, first_step: int) -> None:
        self._live: list[tuple[str, Tracker]] = []
        for name in names:
            make = trackers[name]
            try:
                self._live.append((name, make(run, first_step)))
            except Exception:
                log.exception("tracker %s cannot start; the run goes on without it", name)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take one step's metrics."""
        for name, tracker in list(self._live):
            try:
                tracker.log(step, metrics)
            except Exception:
                log.exception("tracker %s failed; the run goes on without it", name)
                self._live.remove((name, tracker))

    def close(self) -> None:
        """Write out what is held."""
        for name, tracker in self._live:
            try:
                tracker.close()
            except Exception:
                log.exception("tracker %s failed to close", name)
        self._live = []


def _is_installed(package: str) -> bool:
    """Whether there is such a package; a mere directory of that name, which W&B leaves behind, is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None
