"""What a model's gap says of answers before any training: teacher less student log-prob, by kind of skills.

A teacher has something to teach where its gap is larger on an expert's answers than on worse ones, and more
so with the right skills than with unrelated text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdar.errors import DataError
from sdar.evaluation.results import Interval, bootstrap
from sdar.evaluation.tables import short
from sdar.rollout.probes import Answer
from sdar.text.sheets import Column, Sheet


@dataclass(frozen=True)
class Gaps:
    """The gaps of N answers under one kind of skills."""

    task_N: np.ndarray
    """Index of the task."""
    answer_N: np.ndarray
    """`Answer` of each."""
    gap_N: np.ndarray
    """Mean over the answer's tokens of teacher - student log-prob, in nats."""
    gate_N: np.ndarray
    """Mean over its tokens of sigmoid(beta * gap)."""

    def auc(self, worse: Answer) -> Interval:
        """Chance that an expert's answer has a larger gap than a worse one of the same task; ties count half.

        Mean over tasks, with its bootstrap interval. Raises `DataError` when no task has both.
        """
        rates = self.aucs(worse)
        return _mean(list(rates.values()), f"no task has an answer of kind '{worse}' beside the expert's")

    def aucs(self, worse: Answer) -> dict[int, float]:
        """Task -> that chance, where it has both."""
        rates = {}
        for task in np.unique(self.task_N).tolist():
            good, bad = (self.gap_N[self._of(task, name)] for name in (Answer.EXPERT, worse))
            if len(good) and len(bad):
                off = good[:, None] - bad[None]
                rates[task] = float(np.mean((off > 0) + 0.5 * (off == 0)))
        return rates

    def mean(self, answer: Answer, what: str = "gap_N") -> Interval:
        """Mean gap (or `gate_N`) of such answers: over the answers of a task, then over tasks."""
        values = getattr(self, what)
        rows = [self._of(task, answer) for task in np.unique(self.task_N)]
        means = [values[row].mean() for row in rows if row.any()]
        return _mean(means, f"there is no answer of kind '{answer}'")

    def to_json(self) -> dict[str, list[Any]]:
        """Its columns."""
        return {name: values.tolist() for name, values in vars(self).items()}

    def _of(self, task: int, answer: Answer) -> np.ndarray:
        return (self.task_N == task) & (self.answer_N == answer)


def _mean(values: Sequence[float], lacking: str) -> Interval:
    if not values:
        raise DataError(f"{lacking}; take more tasks with --limit")
    return bootstrap(values)


def gap_sheet(title: str, gaps: Mapping[str, Gaps]) -> Sheet:
    """One row for each kind of skills."""
    columns = [
        Column("skills of the teacher"),
        *(Column(f"AUC against {name}", _two_digits) for name in (Answer.MISTAKE, Answer.RANDOM)),
        *(Column(f"gap, {name}", _two_digits) for name in Answer),
        *(Column(f"gate, {name}", lambda value: short(value.value)) for name in Answer),
    ]
    rows = [
        [
            content,
            *(found.auc(name) for name in (Answer.MISTAKE, Answer.RANDOM)),
            *(found.mean(name) for name in Answer),
            *(found.mean(name, "gate_N") for name in Answer),
        ]
        for content, found in gaps.items()
    ]
    return Sheet("gap", title, columns, rows)


def _two_digits(value: Interval) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def warning(right: Gaps, junk: Gaps) -> str:
    """What is wrong with a teacher that has nothing to teach; empty when it has.

    Chance is not the measure: answers differ in length and in rare words, and any text moves those. So the
    right skills are compared with unrelated text, task by task; nor is it enough to be less wrong than that.
    """
    told, idle = (gaps.aucs(Answer.MISTAKE) for gaps in (right, junk))
    more = _mean(
        [told[task] - idle[task] for task in told], "no task has a mistake beside the expert's answer"
    )
    found = right.auc(Answer.MISTAKE).value
    if more.low > 0 and found > 0.5:
        return ""
    than = f"AUC {found:.2f} against {junk.auc(Answer.MISTAKE).value:.2f}, {_two_digits(more)} more"
    why = (
        f"the right skills tell an expert's answers from mistakes no better than unrelated text does ({than})"
        if more.low <= 0
        else f"with the right skills it likes an expert's answers no better than mistakes (AUC {found:.2f})"
    )
    return (
        f"this teacher has nothing to teach: {why}. Start from demonstrations first "
        "(sdar warm-start --warm_start.from MODEL), or take a larger model"
    )
