"""Hands the policy's weights to the rollout engine, which has an unsharded copy of its own."""

from typing import Any, cast

import torch
from torch import Tensor

from sdar.model.policy import Policy
from sdar.rollout.engine import Engine
from sdar.trainer.distributed import full


def sync_weights(policy: Policy, engine: Engine) -> None:
    """Gather every parameter on every rank and load it into the engine (collective)."""
    engine.load_weights(full_weights(policy))


@torch.no_grad()
def full_weights(policy: Policy) -> dict[str, Tensor]:
    """Parameter name of the plain model -> whole tensor. LoRA adapters are added in."""
    whole = {name: full(parameter.detach()) for name, parameter in policy.model.named_parameters()}
    for name in [name for name in whole if ".lora_A." in name]:
        layer, _, rest = name.partition(".lora_A.")
        down, up = whole.pop(name), whole.pop(f"{layer}.lora_B.{rest}")
        scale = cast(Any, policy.model.get_submodule(layer)).scaling[rest.removesuffix(".weight")]
        base = whole[f"{layer}.base_layer.weight"]
        whole[f"{layer}.base_layer.weight"] = base + (scale * (up @ down)).to(base)
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): whole[name] for name in whole
    }
