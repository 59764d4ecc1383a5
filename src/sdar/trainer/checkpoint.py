"""Checkpoints: everything a run needs to go on exactly, and what an evaluation needs to load.

    checkpoints/step-000120/
        state/      policy and optimizer in the sharded format of torch.distributed.checkpoint; any number of
                    ranks reads it
        model/      the policy as a transformers model with its tokenizer
        state.json  format, step, and what was observed of the skills

A directory without the ending `.tmp` is complete. `state/` also holds the average of a teacher that has one.
Nothing else is kept: all randomness follows from the seed and the step, and the reference policy is the
initial one.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from sdar.errors import CheckpointError
from sdar.model.policy import Policy
from sdar.runs.checkpoints import complete, step_of
from sdar.trainer.average import Average
from sdar.trainer.distributed import World
from sdar.trainer.settings import CheckpointConfig

FORMAT = 1
_TRAINABLE = StateDictOptions(ignore_frozen_params=True, strict=False)


@dataclass(frozen=True)
class Checkpoints:
    """Writes and reads the checkpoints of one run. `export` writes the model directory (collective)."""

    directory: Path
    config: CheckpointConfig
    world: World
    export: Callable[[Path], object]

    def save(
        self,
        step: int,
        policy: Policy,
        optimizer: torch.optim.Optimizer,
        average: Average | None = None,
        *,
        returns: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the state after `step` steps (collective), unless it is there.

        `returns` is what was observed of the skills, see `sdar.skills.retrieval.Returns.state`. A crash at
        any moment leaves the earlier checkpoints usable.
        """
        path = self.directory / f"step-{step:06d}"
        if self.world.any(path.is_dir()):
            return path
        partial = path.with_name(path.name + ".tmp")
        if self.world.is_main:
            for left in self.directory.glob("step-*.tmp"):
                shutil.rmtree(left)
            partial.mkdir(parents=True)
        self.world.barrier()
        dcp.save(_state(policy, optimizer, average), checkpoint_id=partial / "state")
        self.export(partial / "model")
        if self.world.is_main:
            state = {"format": FORMAT, "step": step, "returns": returns or {}}
            (partial / "state.json").write_text(json.dumps(state) + "\n")
            os.replace(partial, path)
            for old in complete(self.directory)[: -self.config.keep]:
                shutil.rmtree(old.rename(old.with_name(old.name + ".tmp")))
        self.world.barrier()
        return path

    def load(
        self, path: Path, policy: Policy, optimizer: torch.optim.Optimizer, average: Average | None = None
    ) -> int:
        """Restore policy, optimizer and average (collective); the number of steps done."""
        step = step_of(path)
        try:
            found = json.loads((path / "state.json").read_text())["format"]
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} is not a usable checkpoint: {error}") from error
        if found != FORMAT:
            raise CheckpointError(f"{path} has checkpoint format {found}; this version reads format {FORMAT}")
        state = _state(policy, optimizer, average)
        try:
            dcp.load(state, checkpoint_id=path / "state")
        except (dcp.CheckpointException, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} does not fit this model: {_reason(error)}") from error
        set_state_dict(
            policy,
            optimizer,
            model_state_dict=state["policy"],
            optim_state_dict=state["optimizer"],
            options=_TRAINABLE,
        )
        return step


def _state(policy: Policy, optimizer: torch.optim.Optimizer, average: Average | None) -> dict[str, Any]:
    model, optim = get_state_dict(policy, optimizer, options=_TRAINABLE)
    state = {"policy": model, "optimizer": optim}
    return state if average is None else state | {"average": dict(average.tensors)}


def _reason(error: BaseException) -> str:
    failures = getattr(error, "failures", {})
    cause = next((failure[0] for failure in failures.values()), error)
    return str(cause).splitlines()[0]
