"""Kills a run with SIGKILL at random moments, resumes it, and compares it with the run that was never killed.

    python -m tests.faults.kills --moments 50

Every third run is killed a second time while it resumes. A run agrees when its metrics (without times),
episodes, trajectories and the weights of every checkpoint are equal, bit for bit, and nothing half is left.
"""

import argparse
import gc
import gzip
import json
import os
import platform
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file
from tests.runs import Quiet, timeless, tiny_trainer
from transformers.utils import logging

from sdar.runs.checkpoints import complete
from sdar.runs.rundir import RunDir, read_metrics
from sdar.trainer.distributed import join
from sdar.trainer.settings import CheckpointConfig

STEPS = 6
RESULT = Path(__file__).parents[2] / "benchmarks/results/kills.json"


@dataclass
class Noting(Quiet):
    """A progress that notes in the run from where each process goes on, as `sdar train` does."""

    run: RunDir | None = None

    def begin(self, done: int) -> None:
        assert self.run is not None
        self.run.begin_segment(done, "", 1)


def start(path: Path) -> int:
    """A process that trains the run in `path` to its end; its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        # The parent's threads do not live on here: whoever waits for them waits for ever, as a process group
        # of an earlier test does when it is collected. So nothing of the parent is.
        gc.freeze()
        torch.set_num_threads(1)
        with join() as world:
            trainer = tiny_trainer(path, world, steps=STEPS, checkpoint=CheckpointConfig(every=2, keep=9))
            trainer.progress = Noting(run=trainer.run)
            with trainer.run.hold():
                trainer.train()
        status = 0
    finally:
        os._exit(status)


def finish(path: Path) -> None:
    """Train to the end in a process of its own."""
    _, status = os.waitpid(start(path), 0)
    assert status == 0, f"{path} could not be finished: status {status}"


def kill(path: Path, after: float) -> bool:
    """Train, and kill the process after so many seconds; whether it was still at work."""
    child = start(path)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def differences(path: Path, whole: Path) -> list[str]:
    """What is not in `path` as in `whole`."""
    one, two = RunDir.open(path), RunDir.open(whole)
    found = [] if timeless(read_metrics(one)) == timeless(read_metrics(two)) else ["metrics"]
    for part in ("episodes", "trajectories"):
        texts = [
            {file.name: gzip.decompress(file.read_bytes()) for file in (run / part).iterdir()}
            for run in (path, whole)
        ]
        found += [part] if texts[0] != texts[1] else []
    names = [[each.name for each in complete(run.checkpoints)] for run in (one, two)]
    if names[0] != names[1]:
        return [*found, "checkpoints"]
    for name in names[0]:
        mine, theirs = (load_file(run.checkpoints / name / "model/model.safetensors") for run in (one, two))
        if mine.keys() != theirs.keys() or any(not mine[key].equal(theirs[key]) for key in mine):
            found.append(name)
    left = [file for file in path.rglob("*") if file.name.endswith(".tmp") or file.suffix[1:].isdigit()]
    return [*found, *(str(file.relative_to(path)) for file in left)]


def campaign(moments: int, seed: int, directory: Path) -> dict[str, object]:
    """Kill and resume so many runs; what came of it."""
    logging.disable_progress_bar()
    random, whole = Random(seed), directory / "whole"
    finish(whole)
    began = time.monotonic()
    finish(directory / "timed")
    seconds = time.monotonic() - began
    killed, steps, bad = 0, [], {}
    for number in range(moments):
        path = directory / f"run-{number}"
        for _ in range(1 + (number % 3 == 0)):
            killed += kill(path, random.uniform(0.05, 0.95) * seconds)
        steps.append(len(read_metrics(RunDir(path))) - 1)
        if not (path / "meta.json").is_file():
            # Killed before it was a run: there is nothing to resume, and the name can be taken again.
            for file in sorted(path.rglob("*"), reverse=True):
                file.unlink()
            if path.exists():
                path.rmdir()
        finish(path)
        if found := differences(path, whole):
            bad[path.name] = found
    return {
        "moments": moments,
        "kills": killed,
        "seconds_of_the_whole_run": round(seconds, 2),
        "steps_logged_when_killed": sorted(steps),
        "different_after_resume": bad,
        "seed": seed,
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign, print one line and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        result = campaign(options.moments, options.seed, Path(directory))
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{result['kills']} kills in {options.moments} runs of {STEPS} steps: "
        f"{len(result['different_after_resume'])} differ after the resume"
    )
    return bool(result["different_after_resume"])


if __name__ == "__main__":
    raise SystemExit(main())
