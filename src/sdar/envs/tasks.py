"""Long lists of tasks that are made one by one, when they are asked for."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import overload

from sdar.types import Task


class LazyTasks(Sequence[Task]):
    """A list of `length` tasks; `make` makes the one at a place, the same one every time.

    >>> LazyTasks(3, lambda place: Task(f"t/{place}", "a"))[1:]
    [Task(id='t/1', kind='a'), Task(id='t/2', kind='a')]
    """

    def __init__(self, length: int, make: Callable[[int], Task]) -> None:
        self._length, self._make = length, make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._length))]
        return self._make(range(self._length)[index])


def joined(parts: Sequence[Sequence[Task]]) -> LazyTasks:
    """Several lists of tasks one after the other."""
    ends = list(accumulate(map(len, parts)))
    return LazyTasks(ends[-1], partial(_find, parts, ends))


def _find(parts: Sequence[Sequence[Task]], ends: Sequence[int], place: int) -> Task:
    part = bisect_right(ends, place)
    return parts[part][place - ends[part]]
