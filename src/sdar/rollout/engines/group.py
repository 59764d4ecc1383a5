"""Ranks that share one engine, each with a part of its weights: they must ask and step alike."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import torch.distributed as dist

from sdar.rollout.engine import Request, Sampling

IDLE_WAIT = 0.01
"""Seconds that a rank may stay away from an engine which nobody asks."""


class News(NamedTuple):
    """What a rank brings to a step."""

    asked: Sequence[tuple[int, Request, Sampling]] = ()
    """Requests with their tickets."""
    dropped: Sequence[int] = ()
    """Tickets of requests that are given up."""
    settled: bool = False
    """Whether this rank asks for nothing more for now."""


class Sharers:
    """This rank and those that share its engine, `size` neighbours in the order of the ranks."""

    def __init__(self, size: int, timeout: float) -> None:
        """Find each other (collective over all ranks of the run); `timeout` is in seconds."""
        self.size, self.rank, self._group = size, 0, None
        if size > 1:
            self.rank = dist.get_rank() % size
            self._group, _ = dist.new_subgroups(size, timeout=timedelta(seconds=timeout), backend="gloo")

    def exchange(self, own: News) -> list[News]:
        """The news of every rank that shares the engine, in their order, on each of them."""
        if self._group is None:
            return [own]
        news: list[News | None] = [None] * self.size
        dist.all_gather_object(news, own, group=self._group)
        return news  # type: ignore[return-value]
