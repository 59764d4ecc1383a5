"""The processes of a run, and what the user and the trackers see of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from transformers.utils import logging

from sdar.recipe import RunConfig
from sdar.runs.progress import Display, display
from sdar.runs.rundir import RunDir
from sdar.runs.trackers import Trackers
from sdar.settings.config import to_toml
from sdar.text.records import left_out
from sdar.trainer.distributed import World, join


@contextmanager
def stage(config: RunConfig) -> Iterator[tuple[World, Display]]:
    """The processes that work together, and what the user sees of it."""
    logging.disable_progress_bar()
    with join(config.device, config.ranks) as world, display(config.train.steps, main=world.is_main) as shown:
        yield world, shown


class Watcher:
    """Passes what the trainer says to the display and to the trackers."""

    def __init__(self, shown: Display, config: RunConfig, run: RunDir, world: World, start: str = "") -> None:
        self._start = start
        self._shown, self._config, self._run, self._world = shown, config, run, world
        self._trackers = Trackers((), run, 0)

    def begin(self, done: int) -> None:
        """Start the trackers, and note in the run with what it goes on."""
        if self._world.is_main:
            world, threads = self._world.size, torch.get_num_threads()
            self._run.begin_segment(done, to_toml(self._config), world, left_out(), self._start, threads)
            self._trackers = Trackers(self._config.trackers, self._run, done + 1 if done else 0)

    def phase(self, name: str, done: int, total: int, successes: int = 0) -> None:
        """See `sdar.trainer.loop.Progress`."""
        self._shown.phase(name, done, total, successes)

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `sdar.trainer.loop.Progress`."""
        self._shown.step(step, metrics)
        self._trackers.log(step, metrics)

    def message(self, text: str) -> None:
        """See `sdar.trainer.loop.Progress`."""
        self._shown.message(text)

    def close(self) -> None:
        """Write out what the trackers hold."""
        self._trackers.close()
