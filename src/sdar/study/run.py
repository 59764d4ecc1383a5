"""Does the runs of a study that have no result yet, several at a time. No torch.

A run is a process of its own, `python -m sdar train`, in a directory of its own, here or on a cluster. One
that was interrupted goes on from its checkpoint; one that fails leaves a result that says why, and is tried
again the next time. The process holds the lock of its run, so several runners, or one that was killed and
started again, can work side by side; on a cluster the runner holds it.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sdar.errors import DataError
from sdar.runs.rundir import RunDir
from sdar.study.plan import Plan, Planned, flags
from sdar.study.processes import SDAR, Executor, Process, Start, local, one_thread
from sdar.study.result import is_complete, provenance, read_results, summarise, write_result
from sdar.trainer.interrupt import graceful

PAUSE = 0.2
"""Seconds between two looks at the running processes."""

Tell = Callable[[str], None]


def missing(plan: Plan) -> list[Planned]:
    """The runs without a result, in order. Raises `DataError` when a result was made with other settings."""
    results = read_results(plan.results)
    for run in plan.runs:
        if run.name in results and results[run.name]["settings"] != run.settings:
            file = plan.results / f"{run.name}.json"
            raise DataError(f"{file} was made with other settings than {plan.file} asks for: remove it")
    return [run for run in plan.runs if results.get(run.name, {}).get("status") != "done"]


def hours_left(plan: Plan, jobs: int) -> float | None:
    """Time for the runs without a result, from the median of those that have one; None without any."""
    done = [result for result in read_results(plan.results).values() if result["status"] == "done"]
    seconds = [sum(result["seconds"].values()) for result in done]
    return len(missing(plan)) * median(seconds) / jobs / 3600 if seconds else None


def starting_model(plan: Plan, given: Path | None, runs: Path) -> Path:
    """The model given, or else the plan's, or else the embedded one. `DataError` when it is not there."""
    model = given or plan.model
    if model is None:
        return warm_start(plan, runs)
    if not (model / "config.json").is_file():
        raise DataError(f"there is no model in {model}")
    return model


def warm_start(plan: Plan, runs: Path) -> Path:
    """The embedded model of the settings that all runs share, made where it is missing.

    Made with one thread, as the runs are: sums of several threads are rounded in another order.
    """
    command = [*SDAR, "warm-start", "--out", str(runs), *flags(plan.settings), "--eval.panel", "none"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=one_thread())
    if done.returncode:
        raise DataError(f"the warm start failed with status {done.returncode}: {' '.join(command)}")
    return Path(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Job:
    """A run in its process."""

    planned: Planned
    run: RunDir
    process: Process
    log: Path
    lock: int


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What all runs of a study share."""

    plan: Plan
    model: Path
    """Directory of the model that all runs start from."""
    runs: Path
    """Where run directories, logs and locks go."""
    jobs: int = 1
    """Processes at a time, each with one thread."""
    tell: Tell
    execute: Executor = local
    """Where the processes work."""

    def run(self) -> int:
        """Do all runs without a result; how many failed. Ctrl-C lets each save its state, then stops."""
        self.runs.mkdir(parents=True, exist_ok=True)
        source, todo = provenance(self.model), missing(self.plan)
        self.check_model(source["model"])
        active: list[Job] = []
        failed = 0

        def stop(text: str) -> None:
            self.tell(text)
            for job in active:
                job.process.send_signal(signal.SIGINT)

        with graceful(stop) as asked:
            while active or (todo and not asked()):
                while todo and len(active) < self.jobs and not asked():
                    job = self.start(todo.pop(0))
                    active += [job] if job else []
                time.sleep(PAUSE)
                for job in [job for job in active if job.process.poll() is not None]:
                    active.remove(job)
                    failed += self.finish(job, source) == "failed"
        return failed

    def check_model(self, digest: str) -> None:
        """Raise `DataError` when the results there are started from another model."""
        for name, result in read_results(self.plan.results).items():
            if result["status"] == "done" and result["model"] != digest:
                raise DataError(
                    f"{name} started from the model {result['model'][:8]}, and {self.model} is {digest[:8]}: "
                    "give that model with --model, or remove the results"
                )

    def start(self, planned: Planned) -> Job | None:
        """Start or resume a run; None when another runner has it, or had."""
        name = f"{planned.name}-{planned.digest}"
        lock = os.open(self.runs / f"{name}.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        if planned not in missing(self.plan):
            os.close(lock)
            return None
        run, log = RunDir(self.runs / name), self.runs / f"{name}.log"
        place = ["--name", name, "--out", str(self.runs), "--model.path", str(self.model.absolute())]
        words = ["train", *place, *flags(planned.settings)]
        return Job(planned, run, self.execute(Start(run.path, words, log), lock), log, lock)

    def finish(self, job: Job, source: Mapping[str, Any]) -> str:
        """Write the result of a process that has ended, unless it was stopped; done, failed or stopped."""
        content = outcome(job)
        if content["status"] != "stopped":
            write_result(self.plan.results / f"{job.planned.name}.json", job.planned, source, content)
        os.close(job.lock)
        left = len(missing(self.plan))
        self.tell(f"{len(self.plan.runs) - left}/{len(self.plan.runs)}  {job.planned.name}: {line(content)}")
        return str(content["status"])


def outcome(job: Job) -> dict[str, Any]:
    """What a process that has ended leaves: the summary of its run, or why there is none."""
    status = job.process.returncode
    if status == 0 and is_complete(job.run):
        return summarise(job.run)
    if status in (0, 130, -signal.SIGINT, -signal.SIGTERM):
        return {"status": "stopped"}
    reason = job.log.read_text(errors="replace")[-1000:]
    if status < 0:
        reason += f"\nkilled by {signal.Signals(-status).name}"
        reason += ", as a machine does that runs out of memory" if status == -signal.SIGKILL else ""
    return {"status": "failed", "exit": status, "reason": reason}


def line(content: Mapping[str, Any]) -> str:
    """A result in a few words."""
    if content["status"] != "done":
        return f"{content['status']} {content.get('reason', '').strip().rpartition(chr(10))[2]}".rstrip()
    first, *_, last = (bits.count("1") / len(bits) for bits in content["success"].values())
    return f"{100 * first:.1f} -> {100 * last:.1f} %, {sum(content['seconds'].values()):.0f} s"
