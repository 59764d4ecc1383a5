"""The policy's weights outside of the trainer: handed to the rollout engine, and exported as a plain model.

Both leave the policy, sharded as it is, under the names of a checkpoint, LoRA adapters added in and tied
names included. An engine is only ever given weights.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from sdar.model.load import save_model
from sdar.model.policy import Policy, causal_lm
from sdar.rollout.engine import Bucket, Engine
from sdar.trainer.distributed import World, full

BUCKET_BYTES = 1 << 28
"""Of the weights that are whole at a time, but for a tensor that is larger."""
_ADAPTER = ".lora_A."


def sync_weights(policy: Policy, engine: Engine) -> None:
    """Give the engine the policy's weights in its dtype (collective)."""
    engine.update_weights(buckets(policy, getattr(torch, engine.dtype)))


@torch.no_grad()
def buckets(policy: Policy, dtype: torch.dtype, size: int = BUCKET_BYTES) -> Iterator[Bucket]:
    """All weights in `dtype`, whole, in buckets of at most `size` bytes or one tensor (collective)."""

    def fetch(parameter: Tensor) -> Tensor:
        return full(parameter.detach())

    bucket: list[tuple[str, Tensor]] = []
    held = 0
    for names, tensor in _plain_weights(policy.model, fetch, dtype):
        if bucket and held + tensor.nbytes > size:
            yield bucket
            bucket, held = [], 0
        bucket += [(name, tensor) for name in names]
        held += tensor.nbytes
    yield bucket


def export_model(
    policy: Policy,
    dtype: torch.dtype,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    directory: Path,
    card: str = "",
) -> None:
    """Write the policy as a plain transformers model in `dtype`, see `save_model` (collective)."""
    whole = get_model_state_dict(policy, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if world.is_main:
        save_model(_plain_model(policy, whole, dtype), tokenizer, directory, card)


@torch.no_grad()
def _plain_model(policy: Policy, whole: Mapping[str, Any], dtype: torch.dtype) -> PreTrainedModel:
    """A transformers model with the policy's `whole` parameters, adapters added in, to be written."""
    places = {id(parameter): name for name, parameter in policy.named_parameters()}

    def fetch(parameter: Tensor) -> Tensor:
        return cast(Tensor, whole[places[id(parameter)]])

    base = causal_lm(policy.model)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(base.config, dtype=dtype)
    model.generation_config = base.generation_config
    weights = _plain_weights(policy.model, fetch, dtype)
    model.load_state_dict({name: tensor for names, tensor in weights for name in names}, assign=True)
    model.tie_weights()
    return cast(PreTrainedModel, model)


def _plain_weights(
    model: nn.Module, fetch: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> Iterator[tuple[list[str], Tensor]]:
    """Every weight of the plain model with all its names; `fetch` makes a parameter whole."""
    names: dict[int, list[str]] = {}
    parameters: dict[int, nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
        parameters[id(parameter)] = parameter
    for key, parameter in parameters.items():
        first = names[key][0]
        if ".lora_" in first:
            continue
        layer, _, end = first.rpartition(".base_layer.")
        whole = fetch(parameter)
        if layer and end == "weight":
            whole = whole + _added(model.get_submodule(layer), fetch).to(whole)
        yield [_plain_name(name) for name in names[key]], whole.to(dtype)


def _added(layer: nn.Module, fetch: Callable[[Tensor], Tensor]) -> Tensor:
    """What the adapters of a layer add to its weight."""
    lora = cast(Any, layer)
    parts = [
        lora.scaling[name] * (fetch(lora.lora_B[name].weight) @ fetch(down.weight))
        for name, down in lora.lora_A.items()
    ]
    return cast(Tensor, sum(parts))


def _plain_name(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")
