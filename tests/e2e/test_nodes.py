"""Two nodes of two ranks, one of them killed and all resumed, have the losses of one process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket

import pytest
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.runs.checkpoints import complete, step_of
from sdar.runs.rundir import RunDir, read_metrics

ROOT = Path(__file__).parents[2]
SETTINGS = [
    *("--train.eval-every", "0", "--rollout.tasks-per-step", "3", "--rollout.group-size", "2"),
    *("--rollout.max-tokens", "4", "--env.max-turns", "2", "--eval.panel", "none", "--objective.coef", "1"),
    *("--checkpoint.every", "2", "--checkpoint.keep", "9", "--optim.schedule", "constant"),
    *("--optim.micro-tokens", "1", "--ranks.timeout", "300"),
]


def start(words: Sequence[str], node: int | None, port: int = 0) -> "subprocess.Popen[str]":
    """`sdar train` in one process, or as one of two nodes with two ranks each."""
    torchrun = ["-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(node)]
    torchrun += ["--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *([] if node is None else torchrun), "-m", "sdar", "train", *words]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip


def finish(processes: Sequence["subprocess.Popen[str]"]) -> list[str]:
    """What they said, when all have ended; none is left after that."""
    try:
        return [process.communicate(timeout=400)[0] for process in processes]
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ranks_of(process: "subprocess.Popen[str]") -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def free_port() -> int:
    with socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds ranks in /proc")
def test_two_nodes_killed_and_resumed_have_the_losses_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "data"))
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    words = [*SETTINGS, "--model.path", str(tmp_path / "model"), "--out", str(tmp_path / "runs")]

    port, path = free_port(), tmp_path / "runs" / "nodes"
    nodes = [start([*words, "--name", "nodes", "--train.steps", "500"], node, port) for node in (0, 1)]
    deadline = time.monotonic() + 400
    while not complete(path / "checkpoints") and all(node.poll() is None for node in nodes):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if all(node.poll() is None for node in nodes):
        os.kill(ranks_of(nodes[1])[1], signal.SIGKILL)
    said = finish(nodes)
    assert all(node.returncode for node in nodes), said
    assert "was lost" in said[0]
    assert f"go on with: sdar train --resume {path}" in said[0]

    steps = step_of(complete(path / "checkpoints")[-1]) + 2
    resumed = ["--resume", str(path), "--train.steps", str(steps)]
    port = free_port()
    nodes = [start(resumed, node, port) for node in (0, 1)]
    alone = start([*words, "--name", "alone", "--train.steps", str(steps)], None)
    said = finish([*nodes, alone])
    assert [process.returncode for process in (*nodes, alone)] == [0, 0, 0], said

    many, one = (read_metrics(RunDir.open(tmp_path / "runs" / name)) for name in ("nodes", "alone"))
    assert len(many) == len(one) == steps + 1
    for shared, lonely in zip(many[1:], one[1:], strict=True):
        assert shared["objective/loss"] == pytest.approx(lonely["objective/loss"], abs=1e-6, rel=0)
        assert shared["rollout/tokens"] == lonely["rollout/tokens"]
    assert len({step["objective/loss"] for step in one[1:]}) == steps
