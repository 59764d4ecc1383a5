"""Hands the policy's weights to the rollout engine, which has an unsharded copy of its own."""

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
    return whole
