"""Results of evaluations made from numbers, for tests of statistics, tables and pictures."""

from collections.abc import Sequence

import numpy as np

from sdar.envs.base import Panel
from sdar.evaluation.results import EvalResult, Outcome
from sdar.types import Task


def result_of(wins: Sequence[Sequence[int]] | np.ndarray, *, panel: str = "p", seed: int = 0) -> EvalResult:
    """One task for each row of `wins`, one sample for each of its 0s and 1s; the first quarter is heated."""
    tasks = [Task(f"{panel}/{i}", "heat" if i < len(wins) // 4 else "cool") for i in range(len(wins))]
    outcomes = tuple(
        Outcome(
            task=task.id,
            kind=task.kind,
            success=tuple(bool(won) for won in row),
            reward=tuple(float(won) for won in row),
            turns=(2,) * len(row),
            invalid=(1,) * len(row),
            truncated=tuple(not won for won in row),
            tokens=(9,) * len(row),
        )
        for task, row in zip(tasks, wins, strict=True)
    )
    return EvalResult(
        panel=panel,
        fingerprint=Panel(panel, tasks).fingerprint,
        samples=len(wins[0]),
        temperature=0.4,
        seed=seed,
        skills="",
        outcomes=outcomes,
    )
