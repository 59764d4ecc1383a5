"""A moving average of a policy's weights, and the policy with these weights in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from sdar.model.policy import Policy


class Average:
    """An exponential moving average of a policy's trained weights; each rank averages its own shards."""

    def __init__(self, policy: Policy, decay: float) -> None:
        """Start from the present weights; call it after sharding and outside a forward pass."""
        self._decay = decay
        self._live = {name: p for name, p in policy.named_parameters() if p.requires_grad}
        self.tensors: Mapping[str, Tensor] = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Average <- decay * average + (1 - decay) * weights."""
        for live, mean in self._pairs():
            mean.lerp_(live, 1 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the policy has the averaged weights; its own come back bit for bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for live, mean in self._pairs():
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        for name, live in self._live.items():
            yield _local(live.detach()), _local(self.tensors[name])


def _local(tensor: Tensor) -> Tensor:
    """This rank's shard of a tensor, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
