"""Where metrics go besides `metrics.jsonl`. A tracker that fails is dropped; the run goes on."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from sdar.registry import Registry

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Takes metrics. Made with (run directory, first step to come); what it has from there on is void."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take one step's metrics."""

    def close(self) -> None:
        """Write out what is held."""


trackers: Registry[type] = Registry("tracker")


@trackers.register("tensorboard")
class TensorBoard:
    """TensorBoard events in RUN/tensorboard."""

    def __init__(self, directory: Path, first_step: int) -> None:
        self._writer = EventFileWriter(str(directory / "tensorboard"))
        start = Event(step=first_step, session_log=SessionLog(status=SessionLog.START))
        self._writer.add_event(start)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take one step's metrics."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._writer.add_event(Event(step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Write out what is held."""
        self._writer.close()


class Trackers:
    """Several trackers as one that never raises."""

    def __init__(self, names: Sequence[str], directory: Path, first_step: int) -> None:
        self._live: list[tuple[str, Tracker]] = []
        for name in names:
            make = trackers[name]
            try:
                self._live.append((name, make(directory, first_step)))
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
