"""When another process of the run is gone: who it was, and how to go on, in one line.

The processes that are left meet a broken connection, or hang; and `torchrun` sends them SIGTERM, then kills
them half a minute later. Either way one of each machine says what happened.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from sdar.errors import CheckpointError
from sdar.runs.files import is_alive
from sdar.trainer.distributed import World

_BROKEN = (
    "Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused",
    "Timed out waiting",
)  # fmt: skip
"""What gloo says, in a plain `RuntimeError`, when another process is gone."""
PATIENCE_S = 3.0
"""For the death to become visible, and for a process that hangs to find out by itself."""
Peer = tuple[int, str, int]
"""Rank, machine and process."""


@contextmanager
def losses(world: World, advice: str) -> Iterator[None]:
    """Within the block the death of another rank is one line, with advice (collective).

    Raises `CheckpointError`, or `SystemExit` where another process of this machine says it; SIGTERM ends
    the process no more, so that it can say it. A process that hangs because of the death ends soon.
    """
    if world.size == 1:
        yield
        return
    me = (world.rank, socket.gethostname(), os.getpid())
    peers = [peer for peer in world.gather(me) if peer[1] == me[1]]
    with _watching(peers, me, advice):
        try:
            yield
        except (RuntimeError, dcp.CheckpointException) as error:
            if not (isinstance(error, dist.DistError) or any(sign in str(error) for sign in _BROKEN)):
                raise
            raise _loss(_wait(peers), peers, me, advice) from error


@contextmanager
def _watching(peers: Sequence[Peer], me: Peer, advice: str) -> Iterator[None]:
    """Let SIGTERM say who was lost, if somebody was; also while this process waits for a dead one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()
    told, tell = os.pipe()
    os.set_blocking(tell, False)

    def handle(number: int, frame: FrameType | None) -> None:
        if over.is_set():
            return
        if lost := _gone(peers):
            raise _loss(lost, peers, me, advice)
        raise KeyboardInterrupt

    def watch() -> None:
        while not over.is_set():
            ready, _, _ = select.select([told], [], [], 0.5)
            lost = _gone(peers) if ready and signal.SIGTERM in os.read(told, 64) else []
            if lost and not over.wait(PATIENCE_S):
                error = _loss(lost, peers, me, advice)
                if isinstance(error, CheckpointError):
                    sys.stderr.write(f"error: {error}\n")
                    sys.stderr.flush()
                os._exit(2)

    before, before_fd = signal.signal(signal.SIGTERM, handle), signal.set_wakeup_fd(tell)
    after = before
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except (CheckpointError, SystemExit):
        # torchrun's SIGTERM must not end the process before it has said why.
        after = signal.SIG_IGN
        raise
    finally:
        over.set()
        signal.set_wakeup_fd(before_fd)
        watcher.join()
        signal.signal(signal.SIGTERM, after)
        os.close(told)
        os.close(tell)


def _gone(peers: Sequence[Peer]) -> list[Peer]:
    return [peer for peer in peers if not is_alive(peer[2])]


def _wait(peers: Sequence[Peer]) -> list[Peer]:
    """Who is gone, as soon as it is known: a dead process is there until its parent has noticed."""
    deadline = time.monotonic() + PATIENCE_S
    while not (lost := _gone(peers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return lost


def _loss(lost: Sequence[Peer], peers: Sequence[Peer], me: Peer, advice: str) -> CheckpointError | SystemExit:
    """The error of this process: the line, or silence where a lower rank of this machine lives to say it."""
    if any(peer < me for peer in peers if peer not in lost):
        return SystemExit(2)
    who = ", ".join(f"rank {rank} (process {process} on {host})" for rank, host, process in lost)
    return CheckpointError(
        f"{who or 'a process on another machine'} was lost: killed, out of memory, or ended by an error of "
        f"its own; {advice}"
    )
