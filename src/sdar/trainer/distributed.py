"""The process group, sharding with FSDP2, and what ranks agree on.

One process is the distributed program with a mesh of one: there is always a process group and the policy is
always sharded. At one process that costs 2 % of a training step of a small model on a CPU.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from sdar.errors import ConfigError, SdarError, StorageError
from sdar.model.memory import keep_freed_memory
from sdar.model.policy import Policy, fsdp_units
from sdar.model.threads import limit_threads
from sdar.runs.files import explain
from sdar.trainer.settings import RanksConfig

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among all processes of the run. Every rank calls its methods in the same order."""

    rank: int
    size: int
    device: torch.device
    shard_over: int = 1
    """Ranks that hold the weights together; it divides `size`."""

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and talks to the user."""
        return self.rank == 0

    def gather(self, item: T) -> list[T]:
        """The picklable `item` of every rank, in rank order, on every rank."""
        if self.size == 1:
            return [item]
        items: list[T | None] = [None] * self.size
        dist.all_gather_object(items, item)
        return items  # type: ignore[return-value]

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up `tensor` over ranks, in place."""
        dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds on at least one rank."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)))

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.sum(torch.zeros((), device=self.device))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within the block each rank works alone; then all go on, or all raise, so that none waits for ever.

        A rank raises its own error, the others a `StorageError` that says the same.
        """
        own: Exception | None = None
        try:
            yield
        except (OSError, RuntimeError, SdarError) as error:
            own = error
        said = "" if own is None else explain(own) if isinstance(own, OSError) else str(own)
        told = self.gather(None if own is None else said)
        if own is not None:
            raise own
        if others := [text for text in told if text is not None]:
            raise StorageError(others[0])


@contextmanager
def join(device: str = "cpu", ranks: RanksConfig | None = None) -> Iterator[World]:
    """Join the run that `torchrun` started, or form a world of one.

    Args:
        device: "cpu" (gloo) or "cuda" (NCCL for tensors on the GPU, gloo for the rest); each rank takes the
            GPU of its local rank.
        ranks: how long to wait for others, and how many hold the weights together.

    Raises:
        ConfigError: the device does not exist here, or the ranks cannot be divided like that.
    """
    ranks = ranks or RanksConfig()
    shard_over = ranks.holders()
    local = int(os.environ.get("LOCAL_RANK", 0))
    keep_freed_memory()
    limit_threads()
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"unknown device '{device}': choose from cpu, cuda")
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise ConfigError(f"rank {local} has no GPU: {torch.cuda.device_count()} found; use --device cpu")
        torch.cuda.set_device(local)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    patience = timedelta(seconds=ranks.timeout)
    if "RANK" in os.environ:
        dist.init_process_group(backend, timeout=patience)
    else:
        dist.init_process_group(backend, timeout=patience, store=dist.HashStore(), rank=0, world_size=1)
    try:
        where = torch.device(device, local) if device == "cuda" else torch.device(device)
        yield World(dist.get_rank(), dist.get_world_size(), where, shard_over)
    finally:
        dist.destroy_process_group()


def shard(
    policy: Policy, world: World, compute_dtype: torch.dtype = torch.float32, *, offload: bool = False
) -> None:
    """Shard `policy` over the ranks of `world.shard_over`, in place: each decoder layer, then the rest.

    Where there are more ranks, each such set of them holds a copy. With `offload` shards that are not at work
    are kept in the host's memory, and must be there when a pass begins.

    Trained parameters stay in float32; they are cast to `compute_dtype` for forward and backward, and
    gradients are reduced in float32. A policy of which nothing is trained is kept in `compute_dtype`. Raises
    `ConfigError` for a parameter without rows, which cannot be cut.
    """
    if single := [name for name, parameter in policy.model.named_parameters() if parameter.dim() == 0]:
        raise ConfigError(f"the model's parameter '{single[0]}' is a single number, which cannot be sharded")
    if not any(parameter.requires_grad for parameter in policy.parameters()):
        for parameter in policy.parameters():
            parameter.data = parameter.data.to(compute_dtype)
    copies = world.size // world.shard_over
    shape, names = ((copies, world.shard_over), ("copy", "shard")) if copies > 1 else ((world.size,), None)
    mesh = init_device_mesh(world.device.type, shape, mesh_dim_names=names)
    waits = CPUOffloadPolicy(pin_memory=world.device.type == "cuda") if offload else OffloadPolicy()
    mixed = MixedPrecisionPolicy(
        param_dtype=None if compute_dtype == torch.float32 else compute_dtype, reduce_dtype=torch.float32
    )
    for layer in fsdp_units(policy):
        fully_shard(layer, mesh=mesh, mp_policy=mixed, offload_policy=waits)
    fully_shard(policy, mesh=mesh, mp_policy=mixed, offload_policy=waits)


def full(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor on its ranks' devices (collective), or `tensor` itself."""
    if not isinstance(tensor, DTensor):
        return tensor
    device = tensor.device_mesh.device_type
    if tensor.device.type != device:  # its shards wait in the host's memory
        tensor = with_local(tensor, tensor.to_local().to(device))
    return tensor.full_tensor()


def full_rows(tensor: Tensor, start: int, stop: int, dtype: torch.dtype) -> Tensor:
    """Some rows of a tensor that is sharded by rows, in `dtype` (collective); no rank holds more of it."""
    if not isinstance(tensor, DTensor):
        return tensor[start:stop].to(dtype)
    by_rows = tensor.placements.index(Shard(0))
    group, holder = tensor.device_mesh.get_group(by_rows), tensor.device_mesh.get_local_rank(by_rows)
    local, ranks = tensor.to_local(), tensor.device_mesh.size(by_rows)
    height = -(-len(tensor) // ranks)
    if ranks == 1:
        return local[start:stop].to(tensor.device_mesh.device_type, dtype)
    out = local.new_empty(stop - start, *tensor.shape[1:], dtype=dtype, device=tensor.device_mesh.device_type)
    for rank in range(start // height, -(-stop // height)):
        first, end = max(start, rank * height), min(stop, (rank + 1) * height)
        part = out[first - start : end - start]
        if rank == holder:
            part.copy_(local[first - rank * height : end - rank * height])
        dist.broadcast(part, group=group, group_src=rank)
    return out


def with_local(tensor: DTensor, local: Tensor) -> DTensor:
    """A tensor sharded like `tensor`, of which this rank has the part `local`."""
    return DTensor.from_local(
        local,
        tensor.device_mesh,
        tensor.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )
