"""One process of a tiny run, for tests that need processes of their own: worker.py DIRECTORY NAME...

Trains the named set-ups one after another, each in its own directory; under torchrun as one of the ranks.
"""

import sys
from pathlib import Path
from typing import Any

from tests.runs import tiny_trainer

from sdar.rollout.collector import RolloutConfig
from sdar.skills.retrieval import UCB
from sdar.trainer.distributed import join
from sdar.trainer.step import OptimConfig
from sdar.trainer.teachers import Live, MovingAverage
from sdar.types import ContextMode

SETUPS: dict[str, dict[str, Any]] = {
    "default": {"steps": 3},
    # Updates of one sample leave the second rank without work; three tasks do not share out evenly.
    "idle-rank": {
        "steps": 2,
        "rollout": RolloutConfig(tasks_per_step=3, group_size=2, max_tokens=6, context=ContextMode.WINDOW),
        "optim": OptimConfig(lr=1e-3, mini_batch=1),
        "old_logps": "recompute",
    },
    "ema": {"steps": 2, "teacher": MovingAverage(decay=0.5)},
    "live": {"steps": 2, "teacher": Live()},
    "ucb": {"steps": 3, "retrieval": UCB()},
    "endless": {"steps": 10_000},
}

if __name__ == "__main__":
    with join() as world:
        for name in sys.argv[2:]:
            tiny_trainer(Path(sys.argv[1]) / name, world, **SETUPS[name]).train()
