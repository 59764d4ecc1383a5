"""What a step says by itself: about its episodes and its scores."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sdar.objectives.base import Stream
from sdar.rollout.samples import SampleReport
from sdar.trainer.batch import Batch
from sdar.trainer.step import Learned
from sdar.types import EndReason, Group, Trajectory


def rollout_metrics(groups: Sequence[Group], overlong: int = 0) -> dict[str, float]:
    """What the episodes of a step say, over all ranks; `overlong` tasks were left out of it.

    `rollout/entropy` is the mean of -log p of the sampled tokens, an unbiased estimate of the entropy;
    `rollout/mixed_groups` is the share of groups whose returns differ, the only ones with a group advantage.
    What the environment measures comes under its own names, as means over episodes.
    """
    episodes = [trajectory for group in groups for trajectory in group.trajectories]
    turns = [turn for trajectory in episodes for turn in trajectory.turns]
    logps = [logp for turn in turns for logp in turn.completion.logps]
    metrics = {
        "rollout/success": _mean([float(trajectory.success) for trajectory in episodes]),
        "rollout/reward": _mean([trajectory.reward for trajectory in episodes]),
        "rollout/turns": _mean([float(len(trajectory.turns)) for trajectory in episodes]),
        "rollout/invalid": _mean([float(not turn.valid) for turn in turns]),
        "rollout/truncated": _mean([float(trajectory.end is not EndReason.DONE) for trajectory in episodes]),
        "rollout/mixed_groups": _mean(
            [float(len({t.reward for t in group.trajectories}) > 1) for group in groups]
        ),
        "rollout/entropy": -_mean(logps),
        "rollout/tokens": float(len(logps)),
        "rollout/episodes": float(len(episodes)),
        "rollout/overlong": float(overlong),
    }
    for kind in sorted({trajectory.task.kind for trajectory in episodes}):
        metrics[f"rollout/success/{kind}"] = _success(episodes, kind)
    for name, skilled in (("skilled", True), ("plain", False)):
        mine = [float(trajectory.success) for trajectory in episodes if trajectory.skilled == skilled]
        if 0 < len(mine) < len(episodes):
            metrics[f"rollout/success_{name}"] = _mean(mine)
    measured = [trajectory.metrics for trajectory in episodes]
    for name in sorted({name for metrics in measured for name in metrics}):
        metrics[f"rollout/{name}"] = _mean([metrics.get(name, 0.0) for metrics in measured])
    return metrics


def teacher_metrics(report: SampleReport) -> dict[str, float]:
    """What the teachers saw; `skills/<name>` counts the trajectories that a skill was shown with.

    `extra/*` counts extra samples, where there are some. The main teacher's numbers are `teacher/*`, those of
    another view `teacher/<view>/*`.
    """
    shown = Counter(name for names in report.skills for name in names)
    metrics = {f"skills/{name}": float(shown[name]) for name in sorted(shown)}
    if report.extras or report.extras_overflow:
        metrics |= {
            "extra/samples": float(report.extras),
            "extra/overflow": float(report.extras_overflow),
        }
    for number, view in enumerate(report.views):
        path = f"teacher/{view.name}" if number else "teacher"
        metrics[f"{path}/prompt_tokens"] = float(view.prompt_tokens)
        metrics[f"{path}/overflow"] = float(view.overflow)
        metrics[f"{path}/absent"] = float(view.absent)
    return metrics


def score_metrics(batch: Batch, learned: Learned) -> dict[str, float]:
    """Sizes of the batch, the gap to the teacher, and how far the engine's log-probs are from the trainer's.

    `mismatch/*` compares them before any update of the step, on the tokens of the first mini-batch: mean and
    largest |trainer - engine|, and the k3 estimate of KL(engine || trainer). `teacher/gap_start` is the mean
    of teacher - engine, `teacher/positive` the share of tokens where that is above 0; both only where a
    sample has a teacher.
    """
    metrics = {
        "batch/samples": float(len(batch.samples)),
        "batch/tokens": float(sum(sample.length for sample in batch.samples)),
        "batch/policy_tokens": float(batch.rollout_M.numel()),
    }
    columns = batch.columns(learned.first)
    difference = (learned.live_M - batch.rollout_M)[columns].double()
    if difference.numel():
        metrics |= {
            "mismatch/mean": float(difference.abs().mean()),
            "mismatch/max": float(difference.abs().max()),
            "mismatch/kl": float((difference.expm1() - difference).mean()),
        }
    if (teacher_M := batch.streams.get(Stream.TEACHER)) is not None and batch.taught:
        gap = (teacher_M - batch.rollout_M)[batch.columns(batch.taught)].double()
        metrics |= {
            "teacher/gap_start": float(gap.mean()),
            "teacher/positive": float((gap > 0).double().mean()),
        }
    return metrics


def episode_gaps(batch: Batch, learned: Learned, count: int) -> list[float]:
    """The mean of teacher - live log-prob over the sampled tokens of each of `count` trajectories.

    Not a number for a trajectory without a teacher.
    """
    if Stream.TEACHER not in batch.streams:
        return [math.nan] * count
    columns = batch.columns(batch.taught)
    gap = (batch.streams[Stream.TEACHER] - learned.live_M)[columns].double().cpu().numpy()
    rows = [batch.samples[row] for row in batch.taught]
    owners = np.array([row.trajectory for row in rows for _ in row.logps], np.int64)
    tokens = np.bincount(owners, minlength=count)
    sums = np.bincount(owners, weights=gap, minlength=count)
    return [total / number if number else math.nan for total, number in zip(sums, tokens, strict=True)]


def _success(episodes: Sequence[Trajectory], kind: str) -> float:
    return _mean([float(trajectory.success) for trajectory in episodes if trajectory.task.kind == kind])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
