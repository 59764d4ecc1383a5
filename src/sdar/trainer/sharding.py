"""Builds models as shards: no rank ever holds more of one than its own part and a tensor that it reads.

The model is made without memory for its parameters, sharded, given memory for this rank's shards, and only
then filled: each rank reads its slices of the safetensors files.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.tensor import DTensor, distribute_tensor

from sdar.errors import ConfigError
from sdar.model.load import empty_model, weight_files
from sdar.model.policy import Policy
from sdar.model.settings import ModelConfig
from sdar.trainer.distributed import World, shard

LORA_SEED = 0
"""Adapters begin alike in every process and at any number of ranks."""


def sharded_policy(
    path: Path | str,
    config: ModelConfig,
    world: World,
    *,
    param_dtype: torch.dtype,
    compute_dtype: torch.dtype,
    trained: bool = True,
    offload: bool = False,
) -> Policy:
    """The policy at `path`, sharded over ranks, in evaluation mode (collective); see `shard` for `offload`.

    With `config.lora_rank` adapters are trained, in float32, and the base is kept in `param_dtype`. Raises
    `ConfigError` when there is no such model or its files lack weights.
    """
    policy = Policy(empty_model(config, path, param_dtype), source=path)
    if not trained:
        policy.requires_grad_(False)
    shard(policy, world, compute_dtype, offload=offload)
    give_memory(policy, torch.device("cpu") if offload else world.device, world.device)
    read_weights(policy, path)
    if config.lora_rank:
        begin_adapters(policy)
    return policy.eval()


def give_memory(module: nn.Module, device: torch.device, buffers: torch.device) -> None:
    """Memory on `device` for parameters that have none; what they hold is not defined.

    Buffers are kept, and go where `buffers` says.
    """
    module._apply(
        lambda tensor: torch.empty_like(tensor, device=device) if tensor.is_meta else tensor.to(buffers)
    )


@torch.no_grad()
def read_weights(policy: Policy, path: Path | str) -> None:
    """Fill in the parameters from a model's files, each rank its shards; adapters are left as they are."""
    wanted = {name: parameter.data for name, parameter in stored_parameters(policy)}
    try:
        dcp.load(wanted, storage_reader=HuggingFaceStorageReader(weight_files(path)))
    except (dcp.CheckpointException, RuntimeError, ValueError) as error:
        raise ConfigError(f"the model at {path} lacks weights: {_reason(error)}") from error


def stored_parameters(policy: Policy) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that a model's files hold, by their names there; tied ones once."""
    for name, parameter in policy.model.named_parameters():
        if ".lora_" not in name:
            yield plain_name(name), parameter


def plain_name(name: str) -> str:
    """The name in a checkpoint of a parameter of a model with or without adapters."""
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


@torch.no_grad()
def begin_adapters(policy: Policy) -> None:
    """LoRA's start: A uniform as a linear layer's weight, B zero, so that the policy is the base model.

    Source: LoRA, arXiv 2106.09685, with the distribution that peft takes for A.
    """
    generator = torch.Generator().manual_seed(LORA_SEED)
    for name, parameter in policy.model.named_parameters():
        if ".lora_A." in name:
            whole = torch.empty(parameter.shape).uniform_(-1, 1, generator=generator)
            fill(parameter, whole / math.sqrt(parameter.shape[1]))
        elif ".lora_B." in name:
            parameter.zero_()


def fill(parameter: Tensor, whole: Tensor) -> None:
    """Give a parameter, sharded or not, the values of a whole tensor that every rank has."""
    if isinstance(parameter, DTensor):
        whole = whole.to(parameter.device, parameter.dtype)
        parameter.copy_(
            distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
        )
    else:
        parameter.copy_(whole)


def _reason(error: BaseException) -> str:
    failures = getattr(error, "failures", {})
    cause = next((failure[0] for failure in failures.values()), error)
    return str(cause).splitlines()[0]
