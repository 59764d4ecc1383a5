"""The policy's weights outside of the trainer: handed to the rollout engine, and exported as a plain model.

Both go by the names of a checkpoint and leave no trace of shards. An engine is only ever given weights.

Of a policy with adapters only these travel: each rank reads the frozen base from the model's files, which the
engine began with too, and adds them in there. Sums begin at the stored base every time, so nothing drifts.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.tensor import DTensor
from transformers import PreTrainedTokenizerBase

from sdar.model.load import StoredWeights, describe_model, make_partial, put_in_place
from sdar.model.policy import Policy, causal_lm
from sdar.rollout.engine import Bucket, Engine
from sdar.trainer.distributed import World, full, full_rows, with_local
from sdar.trainer.sharding import plain_name

BUCKET_BYTES = 1 << 28
"""Of the weights that are whole at a time."""
FILE_BYTES = 5 * 10**9
"""Of one file of an exported model, about."""


def sync_weights(policy: Policy, engine: Engine) -> None:
    """Give the engine the policy's weights in its dtype (collective)."""
    engine.update_weights(buckets(policy, getattr(torch, engine.dtype)))


def buckets(policy: Policy, dtype: torch.dtype, size: int = BUCKET_BYTES) -> Iterator[Bucket]:
    """All weights in `dtype`, whole, in buckets of at most `size` bytes or one row (collective).

    The next bucket is made when it is asked for, and nothing is kept of the one before. A tensor that is
    larger goes by rows through several.
    """
    adapted = any(weight.layer for weight in _weights(policy.model))
    stored = StoredWeights(policy.source) if adapted and policy.source else None
    for part in _in_buckets(_weights(policy.model), dtype.itemsize, size):
        yield [pair for weight, *rows in part for pair in weight.whole(dtype, stored, *rows)]


@dataclass(frozen=True)
class _Weight:
    """A weight of the plain model."""

    names: Sequence[str]
    """All its names there; tied ones have several."""
    parameter: nn.Parameter
    layer: nn.Module | None
    """The layer whose adapters are added to it."""

    def whole(
        self, dtype: torch.dtype, stored: StoredWeights | None, start: int, stop: int
    ) -> list[tuple[str, Tensor]]:
        """Pairs of some rows, with the adapters added in; what is `stored` is not gathered (collective)."""
        kept = self.parameter.dtype if self.layer else dtype
        if stored is not None:
            where = _device(self.parameter)
            base = stored.rows(self.names[0], start, stop).to(where, self.parameter.dtype)
        else:
            base = full_rows(self.parameter.detach(), start, stop, kept)
        if self.layer is not None:
            base = _added(self.layer, slice(start, stop)).add_(base)
        whole = base.to(dtype)
        return [(name, whole) for name in self.names]

    def shard(self, dtype: torch.dtype) -> Tensor:
        """This rank's rows of it, as part of a sharded tensor."""
        mine = self.parameter.detach()
        if self.layer is None or not isinstance(mine, DTensor):
            return mine.to(dtype)
        added = _added(self.layer)
        return with_local(mine, added.add_(mine.to_local().to(added.device)).to(dtype))


def _weights(model: nn.Module) -> list[_Weight]:
    """Every weight of the plain model, in the order of the policy's parameters."""
    names: dict[int, list[str]] = {}
    parameters: dict[int, nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if ".lora_" not in name:
            names.setdefault(id(parameter), []).append(name)
            parameters[id(parameter)] = parameter
    weights = []
    for key, parameter in parameters.items():
        layer, _, end = names[key][0].rpartition(".base_layer.")
        adapted = model.get_submodule(layer) if layer and end == "weight" else None
        weights.append(_Weight([plain_name(name) for name in names[key]], parameter, adapted))
    return weights


def _in_buckets(
    weights: Sequence[_Weight], itemsize: int, size: int
) -> Iterator[list[tuple[_Weight, int, int]]]:
    """Weights, each with its first row and the one after its last, that take at most `size` bytes whole.

    Where adapters are added in, the stored rows and the float32 sum that are there for a while count too.
    """
    part: list[tuple[_Weight, int, int]] = []
    held = 0
    for weight in weights:
        rows = len(weight.parameter)
        width = weight.parameter.numel() // rows
        row, passing = width * itemsize, width * (itemsize + 4) if weight.layer else 0
        most = max(1, size // (row + passing))
        for start in range(0, rows, most):
            stop = min(start + most, rows)
            if part and held + (stop - start) * (row + passing) > size:
                yield part
                part, held = [], 0
            part.append((weight, start, stop))
            held += (stop - start) * row
    yield part


def _added(layer: nn.Module, rows: slice | None = None) -> Tensor:
    """What the adapters of a layer add to these rows of its weight, or to this rank's (collective)."""
    lora = cast(Any, layer)
    parts = []
    for name, down in lora.lora_A.items():
        up, right = lora.lora_B[name].weight.detach(), full(down.weight.detach())
        left = up.to_local().to(right.device) if rows is None else full(up)[rows]
        parts.append((left @ right).mul_(lora.scaling[name]))
    total = parts.pop()
    for part in parts:
        total.add_(part)
    return total


def _device(parameter: Tensor) -> torch.device:
    """Where a parameter is when it is whole."""
    return (
        torch.device(parameter.device_mesh.device_type)
        if isinstance(parameter, DTensor)
        else parameter.device
    )


@torch.no_grad()
def export_model(
    policy: Policy,
    dtype: torch.dtype,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    directory: Path,
    card: str = "",
) -> None:
    """Write the policy as a plain transformers model in `dtype`, like `save_model` (collective).

    Each rank writes its shards, and the main rank lays the files together; no rank holds the whole model.
    """
    base = causal_lm(policy.model)
    state = {weight.names[0]: weight.shard(dtype) for weight in _weights(policy.model)}
    with world.together():
        partial = make_partial(directory, world.is_main)
    files = _files(state)
    writer = HuggingFaceStorageWriter(str(partial), files, save_distributed=True, enable_consolidation=True)
    dcp.save(state, storage_writer=writer)
    with world.together():
        if not world.is_main:
            return
        shutil.rmtree(writer.path)
        if set(files.values()) == {1}:
            (only,) = partial.glob("model-*.safetensors")
            only.rename(partial / "model.safetensors")
            (partial / "model.safetensors.index.json").unlink()
        config = deepcopy(base.config)
        config.dtype, config.architectures = dtype, [type(base).__name__]
        config.save_pretrained(partial)
        describe_model(partial, base.generation_config, tokenizer, card)
        put_in_place(partial, directory)


def _files(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The file, counted from 1, of each tensor."""
    files, number, held = {}, 1, 0
    for name, tensor in state.items():
        need = tensor.numel() * tensor.dtype.itemsize
        if held and held + need > FILE_BYTES:
            number, held = number + 1, 0
        files[name] = number
        held += need
    return files
