"""Weights on their way into an engine."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from sdar.errors import ConfigError
from sdar.rollout.engine import Bucket


def fitting(buckets: Iterable[Bucket], shapes: Mapping[str, torch.Size]) -> Iterator[tuple[str, Tensor]]:
    """The weights one by one. `ConfigError` for one of another name or shape, or when one is missing.

    Nothing is kept of a bucket when the next one is asked for.
    """
    missing = set(shapes)
    for name, tensor in _pairs(buckets):
        if name not in shapes:
            raise ConfigError(f"weights do not fit the engine's model: it has no '{name}'")
        if tensor.shape != shapes[name]:
            found, own = tuple(tensor.shape), tuple(shapes[name])
            raise ConfigError(f"weights do not fit the engine's model: '{name}' is {found}, not {own}")
        missing.discard(name)
        yield name, tensor
        del tensor
    if missing:
        raise ConfigError(
            f"weights do not fit the engine's model: {len(missing)} are missing, such as '{min(missing)}'"
        )


def _pairs(buckets: Iterable[Bucket]) -> Iterator[tuple[str, Tensor]]:
    for bucket in buckets:
        left = list(bucket)[::-1]
        del bucket
        while left:
            yield left.pop()
