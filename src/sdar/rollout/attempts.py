"""Attempts at tasks, how they are shared out over ranks, and the groups they make. No torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sdar.errors import ConfigError, SdarError
from sdar.rollout.engine import Sampling
from sdar.types import Group, Task, Trajectory

S = TypeVar("S")
T = TypeVar("T")
Attempt = tuple[Task, int]
"""A task and the place in its group."""
Progress = Callable[[int, int, int], None]
"""Told (episodes that have ended, all episodes, successes) when some have ended."""


class Ranks(Protocol):
    """The processes that share the work; `sdar.trainer.distributed.World` is one."""

    @property
    def rank(self) -> int:
        """This process."""

    @property
    def size(self) -> int:
        """All of them."""

    def gather(self, item: T) -> list[T]:
        """The `item` of every rank, in rank order, on every rank."""


class Plays(ABC):
    """Plays episodes: a model, an endpoint or an expert."""

    @abstractmethod
    def play(
        self,
        attempts: Sequence[Attempt],
        seed: int,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> list[Trajectory]:
        """The episode of each attempt, in order; where the first prompt does not fit, an `OVERLONG` one.

        What is random in it follows from `seed`, the task's id, the place in the group and the turn; how
        attempts are ordered or shared out over processes does not matter.
        """

    def collect(
        self,
        tasks: Sequence[Task],
        group_size: int,
        seed: int,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> list[Group]:
        """`group_size` episodes of each task, in the order of `tasks`, see `play`."""
        return grouped(self.play(all_attempts(tasks, group_size), seed, sampling, on_progress), group_size)


def all_attempts(tasks: Sequence[Task], group_size: int) -> list[Attempt]:
    """`group_size` attempts at each task, group after group. `ConfigError` for a task listed twice."""
    if len({task.id for task in tasks}) < len(tasks):
        raise ConfigError("a task is listed twice; for more episodes of a task use a larger group")
    return [(task, index) for task in tasks for index in range(group_size)]


def share(items: Sequence[T], rank: int, size: int) -> list[T]:
    """What one of `size` ranks takes: every rank about the same number, of every task if it can.

    >>> share("abcde", 0, 2), share("abcde", 1, 2)
    (['a', 'c', 'e'], ['b', 'd'])
    """
    return list(items[rank::size])


def unshare(shares: Sequence[Sequence[T]]) -> list[T]:
    """The items of all ranks as they were before `share`.

    >>> unshare([["a", "c", "e"], ["b", "d"]])
    ['a', 'b', 'c', 'd', 'e']
    """
    longest = max(map(len, shares), default=0)
    return [part[i] for i in range(longest) for part in shares if i < len(part)]


def work_out(
    items: Sequence[S], work: Callable[[S], T], ranks: Ranks | None, owners: Sequence[int]
) -> list[T]:
    """What `work` makes of each item, in order; the rank that `owners` names works on it (collective).

    An `SdarError` of one rank is raised on all of them.
    """
    if ranks is None:
        return [work(item) for item in items]
    return work_together(items, lambda mine: [work(item) for item in mine], ranks, owners)


def work_together(
    items: Sequence[S],
    work: Callable[[Sequence[S]], Sequence[T]],
    ranks: Ranks,
    owners: Sequence[int] | None = None,
) -> list[T]:
    """What `work` makes of all items, those of each rank at once; else like `work_out` (collective).

    Without `owners` ranks take turns.
    """
    owners = [number % ranks.size for number in range(len(items))] if owners is None else owners
    done: Sequence[T] = ()
    refused: SdarError | None = None
    try:
        done = work([item for item, owner in zip(items, owners, strict=True) if owner == ranks.rank])
    except SdarError as error:
        refused = error
    shares = ranks.gather((done, refused))
    for _, error_of_one in shares:
        if error_of_one is not None:
            raise error_of_one
    left = [iter(part) for part, _ in shares]
    return [next(left[owner]) for owner in owners]


def grouped(trajectories: Sequence[Trajectory], group_size: int) -> list[Group]:
    """The groups of trajectories that lie group after group."""
    groups = [trajectories[i : i + group_size] for i in range(0, len(trajectories), group_size)]
    return [Group(group[0].task, group) for group in groups]
