"""Where the process of a run works: on this machine, or on a Ray cluster. No torch."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sdar.errors import ConfigError

SDAR = (sys.executable, "-m", "sdar")
_PR_SET_PDEATHSIG = 1


class Process(Protocol):
    """What the runner needs of a process, as `subprocess.Popen` has it."""

    returncode: Any

    def poll(self) -> int | None:
        """The exit status; None while it works."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal: SIGINT lets a run save its state and stop."""


@dataclass(frozen=True)
class Start:
    """A run to begin, or to go on with."""

    run: Path
    """Its directory, which every machine that may work on it must see."""
    words: Sequence[str]
    """The words of `sdar` that begin it."""
    log: Path
    """Where its output goes."""

    def argv(self) -> list[str]:
        """The command line; a directory without a beginning is removed."""
        if not (self.run / "meta.json").is_file():
            shutil.rmtree(self.run, ignore_errors=True)
        return [*SDAR, *(["train", "--resume", str(self.run)] if self.run.exists() else self.words)]


Executor = Callable[[Start, int], Process]
"""Begins a process; the number is a lock that it holds where it can."""


def one_thread() -> dict[str, str]:
    """The environment of every process."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def local(start: Start, lock: int) -> Process:
    """A process on this machine. It holds the lock, so that nobody else begins while it works."""
    with start.log.open("ab") as out:
        return subprocess.Popen(
            start.argv(), stdout=out, stderr=out, env=one_thread(), pass_fds=[lock], start_new_session=True
        )


def dies_with_parent() -> None:
    """Called in a new process: on Linux it is killed when the process that started it is."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def work(start: Start) -> int:
    """Do a run in a worker of a cluster and wait for it; its exit status.

    Asked to stop, it passes that on, and the run saves its state. When the worker is lost, the run dies with
    it, and whoever does this again goes on from the newest checkpoint.
    """
    with start.log.open("ab") as out:
        process = subprocess.Popen(
            start.argv(), stdout=out, stderr=out, env=one_thread(), preexec_fn=dies_with_parent
        )
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


@dataclass
class RayProcess:
    """A run somewhere in a Ray cluster, with one CPU; a lost worker's run is done again elsewhere."""

    reference: Any
    returncode: int | None = field(default=None, init=False)

    def poll(self) -> int | None:
        """The exit status; None while it works, or waits for a worker."""
        import ray

        done, _ = ray.wait([self.reference], timeout=0)
        if self.returncode is None and done:
            try:
                self.returncode = ray.get(self.reference)
            except (ray.exceptions.TaskCancelledError, KeyboardInterrupt):
                self.returncode = -signal.SIGINT
        return self.returncode

    def send_signal(self, sig: int, /) -> None:
        """Ask it to stop."""
        import ray

        ray.cancel(self.reference, force=False)


def on_ray() -> Executor:
    """The executor of the cluster that RAY_ADDRESS names, or else of one that Ray starts on this machine.

    All its machines must see the directories of the study, and have this package.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError("--executor ray needs Ray: pip install 'sdar[ray]'") from None

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="warning")
    remote = ray.remote(num_cpus=1, max_retries=-1)(work)

    def execute(start: Start, lock: int) -> Process:
        return RayProcess(remote.remote(start))

    return execute


EXECUTORS: Mapping[str, Callable[[], Executor]] = {"local": lambda: local, "ray": on_ray}
"""Name -> how to come by it."""
