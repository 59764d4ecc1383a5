"""One process of a tiny run, for tests that need processes of their own: worker.py DIRECTORY NAME...

Trains the named set-ups one after another, each in its own directory; under torchrun as one of the ranks.
"""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from tests.runs import LongSpec, LooseSpec, tiny_trainer

from sdar.envs.base import Panel
from sdar.errors import StorageError
from sdar.evaluation.evaluate import EvalConfig, evaluate
from sdar.evaluation.results import EvalResult
from sdar.objectives.grsd import GRSD
from sdar.objectives.ovcsd import OVCSD
from sdar.objectives.sdar import SDAR
from sdar.rollout.settings import RolloutConfig
from sdar.skills.retrieval import UCB
from sdar.trainer import checkpoint
from sdar.trainer.distributed import World, join
from sdar.trainer.loop import Trainer
from sdar.trainer.lost import losses
from sdar.trainer.settings import OptimConfig
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
    "distribution": {
        "steps": 2,
        "objective": SDAR(divergence="forward-kl", top_k=4, gate="teacher-entropy", coef=1.0),
        "optim": OptimConfig(lr=1e-3, mini_batch=1),
        "teacher": Live(),
    },
    "lora": {"steps": 2, "lora": 2, "objective": SDAR(coef=0.1, kl_coef=0.1)},
    "lora-bfloat16": {"steps": 2, "lora": 2, "dtype": torch.bfloat16, "objective": SDAR(kl_coef=0.1)},
    # Tasks that are left out are known to all ranks, also to one whose own share has none of them.
    "overlong": {
        "steps": 4,
        "spec": LongSpec(max_turns=4),
        "rollout": RolloutConfig(tasks_per_step=2, group_size=1, max_tokens=6),
        "optim": OptimConfig(lr=1e-3),
    },
    # Three tasks of three episodes: neither questions nor branches share out evenly.
    "writes": {
        "steps": 2,
        "objective": GRSD(),
        "stages": ("reflect",),
        "views": ("guidance",),
        "rollout": RolloutConfig(tasks_per_step=3, group_size=3, max_tokens=6, context=ContextMode.WINDOW),
    },
    "branches": {
        "steps": 2,
        "objective": OVCSD(),
        "rollout": RolloutConfig(tasks_per_step=4, group_size=2, max_tokens=6),
        "spec": LooseSpec(max_turns=4),
    },
    "endless": {"steps": 10_000},
}


def play_panel(trainer: Trainer, world: World) -> EvalResult:
    """The near doors with the trainer's engine, shared out over all ranks."""
    panel = Panel("near", trainer.collector.spec.tasks("train"))
    return evaluate(panel, trainer.collector, EvalConfig(samples=3, temperature=1), max_tokens=6, ranks=world)


def refuse_a_disk(directory: Path, world: World) -> None:
    """Write a checkpoint while the disk refuses the second rank, and note what each rank says of it."""
    trainer = tiny_trainer(directory, world)

    def full_disk(root: Path, files: object) -> dict[str, str]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root / "a file"))

    whole, checkpoint.digests = checkpoint.digests, full_disk if world.rank else checkpoint.digests
    try:
        trainer.checkpoints.save(1, *trainer._state)
    except StorageError as error:
        (directory / f"said-{world.rank}").write_text(str(error))
    checkpoint.digests = whole


if __name__ == "__main__":
    with join() as world, losses(world, "go on with: sdar train --resume R"):
        (Path(sys.argv[1]) / f"rank-{world.rank}").write_text(str(os.getpid()))
        for name in sys.argv[2:]:
            if name == "full-disk":
                refuse_a_disk(Path(sys.argv[1]) / name, world)
                continue
            trainer = tiny_trainer(Path(sys.argv[1]) / name, world, **SETUPS[name])
            if name == "default":
                result = play_panel(trainer, world)
                (trainer.run.path / f"panel-{world.rank}.json").write_text(json.dumps(result.to_json()))
            trainer.train()
