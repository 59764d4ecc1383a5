"""Shops and their tasks: which catalogue, which goals of it, in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sdar.envs.tasks import LazyTasks, joined
from sdar.envs.webshop.catalogue import Catalogue, open_catalogue
from sdar.envs.webshop.generate import open_generated
from sdar.envs.webshop.goals import Goal, Goals
from sdar.types import Task

OFFICIAL_WORKERS, OFFICIAL_PANEL, OFFICIAL_HELD_OUT = 16, 128, 500
"""Training environments, evaluation environments, and goals that each of them keeps from training."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A catalogue by name: a data directory, or none for the generated products; and how many of them."""

    data: str
    size: int

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue; one in memory for all who ask."""
        return (
            open_catalogue(Path(self.data).expanduser(), self.size)
            if self.data
            else open_generated(self.size)
        )

    def goals(self, seed: int = 0, human: bool = False) -> Goals:
        """The goals of the catalogue for a seed, made once."""
        return _goals(self, seed, human)


@lru_cache(maxsize=256)
def _goals(shop: Shop, seed: int, human: bool) -> Goals:
    return Goals(shop.catalogue, seed, human)


@dataclass(frozen=True, slots=True)
class GoalRef:
    """Where a task's goal is: the payload of a task."""

    shop: Shop
    seed: int
    human: bool
    place: int

    @property
    def goals(self) -> Goals:
        """The goals it is one of."""
        return self.shop.goals(self.seed, self.human)

    @property
    def goal(self) -> Goal:
        """The goal itself."""
        return self.goals[self.place]


def goal_tasks(
    shop: Shop,
    places: Sequence[int],
    prefix: str,
    seed: int = 0,
    *,
    human: bool = False,
    ranks: Sequence[int] | None = None,
) -> LazyTasks:
    """Some goals as tasks. An id is the prefix and the goal's name, or its rank in an official order."""

    def make(index: int) -> Task:
        place, goals = places[index], shop.goals(seed, human)
        name = goals.name(place) if ranks is None else str(ranks[index])
        return Task(f"{prefix}/{name}", goals.product(place).kind, GoalRef(shop, seed, human, place))

    return LazyTasks(len(places), make)


def split_tasks(shop: Shop, prefix: str, *, held_out: bool) -> LazyTasks:
    """Goals of the products that are kept from training, or of the others."""
    return goal_tasks(shop, _split(shop, held_out), prefix)


def spread_tasks(shop: Shop, prefix: str, size: int) -> LazyTasks:
    """Held-out goals for a panel, spread over products."""
    return goal_tasks(shop, _spread(shop, size), prefix)


def human_tasks(shop: Shop, size: int) -> LazyTasks:
    """Goals by people for a panel."""
    goals = shop.goals(human=True)
    return goal_tasks(shop, goals.spread(range(len(goals)), size), "human", human=True)


def official_train(shop: Shop, seed: int) -> Sequence[Task]:
    """What the published training draws from: each worker's own order of goals without its first 500."""
    return joined([_official(shop, seed + worker) for worker in range(OFFICIAL_WORKERS)])


def official_panel(shop: Shop, seed: int) -> Sequence[Task]:
    """What the published training is first evaluated on: each worker's own draw from its own first 500."""
    from numpy.random import RandomState

    workers = range(OFFICIAL_PANEL)
    ranks = RandomState(seed).choice(range(OFFICIAL_HELD_OUT), size=OFFICIAL_PANEL, replace=False)
    parts = []
    for worker, rank in zip(workers, ranks.tolist(), strict=True):
        order = shop.goals(seed + worker).shuffled()
        place = [order[rank % len(order)]]
        parts.append(goal_tasks(shop, place, f"official/{seed + worker}", seed + worker, ranks=[rank]))
    return joined(parts)


@lru_cache(maxsize=64)
def _official(shop: Shop, seed: int) -> LazyTasks:
    order = shop.goals(seed).shuffled()
    ranks = range(OFFICIAL_HELD_OUT, len(order))
    return goal_tasks(shop, order[OFFICIAL_HELD_OUT:], f"official/{seed}", seed, ranks=ranks)


@lru_cache(maxsize=8)
def _split(shop: Shop, held_out: bool) -> Sequence[int]:
    return shop.goals().split(held_out)


@lru_cache(maxsize=8)
def _spread(shop: Shop, size: int) -> Sequence[int]:
    return shop.goals().spread(_split(shop, True), size)
