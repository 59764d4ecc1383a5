"""A process that is gone is named, with how to go on, whatever the others do at that moment."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdar.errors import CheckpointError
from sdar.trainer import lost
from sdar.trainer.distributed import World

ALIVE = os.getpid()


def gone() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def world(rank: int, *processes: int) -> World:
    """One rank among others of this machine, which are these processes; its own place is its own process."""

    class Ranks(World):
        def gather(self, item: Any) -> list[Any]:
            host = item[1]
            return [item if i == rank else (i, host, process) for i, process in enumerate(processes)]

    return Ranks(rank, len(processes), None)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "error",
    ["Connection closed by peer [127.0.0.1]:6182", "writev: Broken pipe", "recv: Connection reset by peer"],
)
def test_a_broken_connection_names_the_process_that_died(error: str) -> None:
    dead = gone()
    said = rf"^rank 1 \(process {dead} on .*\) was lost: .*; do this$"
    with pytest.raises(CheckpointError, match=said), lost.losses(world(0, 0, dead), "do this"):
        raise RuntimeError(error)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN, "else torchrun ends it before the line is out"


def test_other_errors_and_a_world_of_one_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), lost.losses(world(0, 0, gone()), "do this"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    before = signal.getsignal(signal.SIGTERM)
    with lost.losses(World(0, 1, None), "do this"):
        assert signal.getsignal(signal.SIGTERM) is before


def test_the_lowest_rank_that_lives_speaks() -> None:
    dead = gone()
    with pytest.raises(SystemExit), lost.losses(world(2, dead, ALIVE, 0), ""):
        raise RuntimeError("Connection closed by peer")
    with pytest.raises(CheckpointError, match="rank 0"), lost.losses(world(1, dead, 0, ALIVE), ""):
        raise RuntimeError("Connection closed by peer")


@pytest.mark.parametrize(("blocked", "dead"), [(True, True), (False, True), (False, False)])
def test_sigterm_after_a_death_says_who_was_lost(blocked: bool, dead: bool, tmp_path: Path) -> None:
    """`blocked`: within a call that no signal ends, as when a GPU waits for another."""
    patience, other = lost.PATIENCE_S, gone() if dead else ALIVE
    said, ready = tmp_path / "said", tmp_path / "ready"
    child = os.fork()
    if not child:
        status = 3
        try:
            gc.freeze()  # as in tests/faults/kills.py
            lost.PATIENCE_S = 0.1
            os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY), 2)
            sys.stderr = os.fdopen(2, "w")
            with lost.losses(world(0, 0, other), "do this"):
                if blocked:
                    signal.signal(signal.SIGTERM, lambda number, frame: None)
                ready.touch()
                while True:
                    time.sleep(5)
        except CheckpointError as error:
            sys.stderr.write(f"error: {error}")
            sys.stderr.flush()
            status = 2
        except KeyboardInterrupt:
            status = 130
        finally:
            os._exit(status)
    while not ready.exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert patience == lost.PATIENCE_S
    assert status == (2 if dead else 130)
    assert said.read_text().startswith(f"error: rank 1 (process {other} on ") == dead
