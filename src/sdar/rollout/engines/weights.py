"""Weights on their way into an engine."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from sdar.errors import ConfigError
from sdar.rollout.engine import Bucket


def fitting(buckets: Iterable[Bucket], shapes: Mapping[str, torch.Size]) -> Iterator[tuple[str, Tensor, int]]:
    """The weights one by one: name, rows of the tensor (mostly all), and the number of the first of them.

    `ConfigError` for one of another name or shape, or when one is missing. Nothing is kept of a bucket when
    the next one is asked for.
    """
    done = dict.fromkeys(shapes, 0)
    for name, tensor in _pairs(buckets):
        if name not in shapes:
            raise ConfigError(f"weights do not fit the engine's model: it has no '{name}'")
        first, own = done[name], shapes[name]
        done[name] += len(tensor)
        if tensor.shape[1:] != own[1:] or done[name] > own[0]:
            found = (done[name], *tensor.shape[1:])
            raise ConfigError(f"weights do not fit the engine's model: '{name}' is {found}, not {tuple(own)}")
        yield name, tensor, first
        del tensor
    if missing := [name for name, rows in done.items() if rows < shapes[name][0]]:
        raise ConfigError(
            f"weights do not fit the engine's model: {len(missing)} are missing, such as '{min(missing)}'"
        )


def whole(
    parts: Iterable[tuple[str, Tensor, int]], shapes: Mapping[str, torch.Size]
) -> Iterator[tuple[str, Tensor]]:
    """What `fitting` gives, with the tensors that came in parts laid together."""
    held: dict[str, Tensor] = {}
    for name, tensor, first in parts:
        rows, end = shapes[name][0], first + len(tensor)
        if len(tensor) == rows:
            yield name, tensor
            continue
        if first == 0:
            held[name] = tensor.new_empty(shapes[name])
        held[name][first:end] = tensor
        del tensor
        if end == rows:
            yield name, held.pop(name)


def _pairs(buckets: Iterable[Bucket]) -> Iterator[tuple[str, Tensor]]:
    for bucket in buckets:
        left = list(bucket)[::-1]
        del bucket
        while left:
            yield left.pop()
