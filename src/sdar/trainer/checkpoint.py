"""Checkpoints: everything a run needs to go on exactly, and what an evaluation needs to load.

    checkpoints/step-000120/
        state/      policy and optimizer in the sharded format of torch.distributed.checkpoint; any number of
                    ranks reads it
        model/      the policy as a transformers model with its tokenizer
        state.json  format, step, what was observed of the skills, and the SHA-256 of all other files

A directory without an ending is complete and on the disk; one that ends in `.tmp` is unfinished, in
`.damaged` put aside. `state/` also holds the average of a teacher that has one. Nothing else is kept: all
randomness follows from the seed and the step, and the reference policy is the initial one.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from sdar.errors import CheckpointError, SdarError, StorageError
from sdar.model.policy import Policy
from sdar.runs.checkpoints import DAMAGED, FORMAT, check_whole, complete, step_of
from sdar.runs.files import digests, explain, publish, storing, write_atomic
from sdar.trainer.average import Average
from sdar.trainer.distributed import World
from sdar.trainer.saved_state import SafePlanner, SafeReader, read_plan
from sdar.trainer.settings import CheckpointConfig

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
        any moment leaves the earlier checkpoints usable. Raises `StorageError` when the disk refuses; then
        nothing is left of the unfinished one.
        """
        path = self.directory / f"step-{step:06d}"
        if self.world.any(path.is_dir()):
            return path
        partial = path.with_name(path.name + ".tmp")
        with self.world.together(), storing(self.directory):
            if self.world.is_main:
                for left in self.directory.glob("step-*.tmp"):
                    shutil.rmtree(left)
                partial.mkdir(parents=True)
        try:
            dcp.save(_state(policy, optimizer, average), checkpoint_id=partial / "state")
            self.export(partial / "model")
            self._finish(partial, path, {"format": FORMAT, "step": step, "returns": returns or {}})
        except (dcp.CheckpointException, OSError, RuntimeError, SdarError) as error:
            if self.world.is_main:
                shutil.rmtree(partial, ignore_errors=True)
            if (refused := _refused(error, path)) is not None:
                raise refused from error
            raise
        return path

    def _finish(self, partial: Path, path: Path, state: Mapping[str, Any]) -> None:
        """Bring all files to the disk, note what they are, and give the checkpoint its name (collective)."""
        self.world.barrier()
        mine: dict[str, str] = {}
        with self.world.together():
            files = sorted(file for file in partial.rglob("*") if file.is_file())
            mine |= digests(partial, files[self.world.rank :: self.world.size])
        known = {name: digest for share in self.world.gather(mine) for name, digest in share.items()}
        with self.world.together():
            if self.world.is_main:
                text = json.dumps({**state, "files": dict(sorted(known.items()))})
                write_atomic(partial / "state.json", text + "\n")
                publish(partial, path)

    def rotate(self) -> None:
        """Remove all but the newest (collective); call it when those have been seen to work."""
        with self.world.together(), storing(self.directory):
            if self.world.is_main:
                for old in complete(self.directory)[: -self.config.keep]:
                    shutil.rmtree(old.rename(old.with_name(old.name + ".tmp")))

    def restore(
        self,
        policy: Policy,
        optimizer: torch.optim.Optimizer,
        average: Average | None = None,
        *,
        tell: Callable[[str], None],
    ) -> Path | None:
        """Load the newest checkpoint that can be used (collective); None where there is none at all.

        Those that cannot are put aside, and `tell` gets a line about each. Raises `CheckpointError` when
        none of several can be used, with the reason of the newest.
        """
        found = complete(self.directory)[::-1]
        refused: list[CheckpointError] = []
        for path in found:
            try:
                self.load(path, policy, optimizer, average)
            except CheckpointError as error:
                refused.append(error)
                continue
            for bad, why in zip(found, refused, strict=False):
                with self.world.together(), storing(bad):
                    if self.world.is_main:
                        aside = bad.with_name(bad.name + DAMAGED)
                        shutil.rmtree(aside, ignore_errors=True)
                        bad.replace(aside)
                tell(f"{why}; put aside as {bad.name}{DAMAGED}, going on from {path.name}")
            return path
        if refused:
            raise refused[0]
        return None

    def load(
        self, path: Path, policy: Policy, optimizer: torch.optim.Optimizer, average: Average | None = None
    ) -> int:
        """Restore policy, optimizer and average (collective); the number of steps done."""
        step = step_of(path)
        self._check(path)
        state = _state(policy, optimizer, average)
        try:
            dcp.load(state, storage_reader=SafeReader(path / "state"), planner=SafePlanner())
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

    def _check(self, path: Path) -> None:
        """Raise `CheckpointError` on every rank when one finds its share of the files damaged."""
        problem = ""
        try:
            check_whole(path, self.world.rank, self.world.size)
            read_plan(path / "state")
        except CheckpointError as error:
            problem = str(error)
        if problem := next((found for found in self.world.gather(problem) if found), ""):
            raise CheckpointError(problem)


def _state(policy: Policy, optimizer: torch.optim.Optimizer, average: Average | None) -> dict[str, Any]:
    model, optim = get_state_dict(policy, optimizer, options=_TRAINABLE)
    state = {"policy": model, "optimizer": optim}
    return state if average is None else state | {"average": dict(average.tensors)}


def _causes(error: BaseException) -> list[BaseException]:
    """The errors of all ranks, or the error itself."""
    failures = getattr(error, "failures", {})
    return [failure[0] for failure in failures.values()] or [error]


def _reason(error: BaseException) -> str:
    cause = _causes(error)[0]
    return (str(cause) or type(cause).__name__).splitlines()[0]


def _refused(error: BaseException, path: Path) -> StorageError | None:
    """The error as one line where the disk is to blame."""
    cause = _causes(error)[0]
    if isinstance(cause, StorageError):
        return None
    if isinstance(cause, OSError):
        return StorageError(explain(cause, path))
    # torch and safetensors write with code of their own, which gives the system's reason only as text.
    if any(word in str(cause) for word in ("No space left", "PytorchStreamWriter", "os error")):
        return StorageError(f"{path}: {_reason(error)}: make room on that disk, then go on with --resume")
    return None
