"""Finds out why no update of a step was usable, and stops a run in which that does not end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from sdar.errors import DivergedError
from sdar.runs.checkpoints import complete, step_of
from sdar.trainer.batch import Batch
from sdar.trainer.step import Learned

POLICY = "the policy's log-probs"


@dataclass
class Watch:
    """Counts steps in a row without a usable update; after `limit` of them the run is over."""

    limit: int
    checkpoints: Path
    bad: list[tuple[int, str]] = field(default_factory=list)
    """The latest steps in a row that changed nothing, and why."""

    @property
    def is_well(self) -> bool:
        """Whether the last step changed the weights, so that what is saved now is worth keeping."""
        return not self.bad

    def look(self, step: int, batch: Batch, learned: Learned, tasks: Sequence[str]) -> str:
        """Note how a step went; `tasks` has the task of each trajectory. The cause, '' for a good step.

        Raises `DivergedError` when the limit is reached.
        """
        if learned.refused is None or learned.metrics["optim/skipped"] < learned.metrics["batch/updates"]:
            self.bad.clear()
            return ""
        self.bad.append((step, cause(batch, learned, tasks)))
        if len(self.bad) >= self.limit:
            raise DivergedError(self._sentence())
        return self.bad[-1][1]

    def _sentence(self) -> str:
        first, why = self.bad[0]
        # Weights that score no token were already so when the step before was saved.
        before = first - why.startswith(POLICY)
        good = [path for path in complete(self.checkpoints) if step_of(path) < before]
        model = good[-1] / "model" if good else None
        start = f"start from the last good checkpoint: --model.path {model}" if model else "start anew"
        return (
            f"training diverged: no update of steps {first} to {self.bad[-1][0]} was usable, since {why}; "
            f"{start}, with a lower --optim.lr or --optim.max-grad-norm"
        )


def cause(batch: Batch, learned: Learned, tasks: Sequence[str]) -> str:
    """The first thing that is not finite: policy, rewards, other log-probs, loss or gradient."""
    flat = {POLICY: learned.live_M, "the advantages, which come from the rewards,": batch.adv_M}
    flat |= {f"the {name.value} log-probs": stream for name, stream in batch.streams.items()}
    for what, stream in flat.items():
        bad = [row for row in range(len(batch.samples)) if not _is_finite(stream, batch, row)]
        if bad:
            where = sorted({tasks[batch.samples[row].trajectory] for row in bad})
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            return f"{what} are not finite in task '{where[0]}'{more}"
    loss, norm = learned.refused or (0.0, 0.0)
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    return f"the gradient's norm is {norm}, with a loss of {loss:.4g}"


def _is_finite(stream: Tensor, batch: Batch, row: int) -> bool:
    return bool(torch.isfinite(stream[batch.starts[row] : batch.starts[row + 1]]).all())
