"""Which episodes are kept token by token. No torch."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest

from sdar.types import Group


def spread(heaps: Sequence[Sequence[int]]) -> Iterator[int]:
    """One of each heap in turn, until all are empty.

    >>> list(spread([[0, 1, 2], [3], [4, 5]]))
    [0, 3, 4, 1, 5, 2]
    """
    return (item for row in zip_longest(*heaps) for item in row if item is not None)


def of_groups(groups: Sequence[Group], count: int) -> list[int]:
    """Places of `count` episodes of a step in flat order: the first of every group, the second, and so on.

    It is not looked at how they ended, so that means over them are means over the step.
    """
    heaps: list[range] = []
    for group in groups:
        start = heaps[-1].stop if heaps else 0
        heaps.append(range(start, start + len(group.trajectories)))
    return sorted(islice(spread(heaps), count))


def of_panel(episodes: Sequence[tuple[str, bool | None]], count: int) -> list[int]:
    """Places of `count` of a panel's episodes, given as (kind of task, success): the failures first.

    Failures and then successes are each spread over the kinds. One of success None has nothing to be kept.
    """
    kinds = dict.fromkeys(kind for kind, _ in episodes)

    def heaps(success: bool) -> list[list[int]]:
        return [[i for i, episode in enumerate(episodes) if episode == (kind, success)] for kind in kinds]

    return sorted(islice(chain(spread(heaps(False)), spread(heaps(True))), count))
