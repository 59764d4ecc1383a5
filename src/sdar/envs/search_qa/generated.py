"""Generated questions as tasks: numbered, made when they are asked, their world kept for a while."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from sdar.envs.search_qa.bm25 import BM25
from sdar.envs.search_qa.worlds import KINDS, LARGE, SMALL, Puzzle, World
from sdar.envs.tasks import LazyTasks
from sdar.types import Task

SPLITS = ("train", "held_out")
PER_WORLD = {"compact": 40, "full": 1_000}
"""Questions asked about one world of each size."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a generated question is made from; the payload of its task."""

    size: str
    split: str
    index: int

    @property
    def id(self) -> str:
        """The id of its task, like `qa-compact/train/000123`."""
        return f"qa-{self.size}/{self.split}/{self.index:06d}"

    @property
    def kind(self) -> str:
        """The kinds take turns."""
        return KINDS[self.index % len(KINDS)]

    def puzzle(self) -> Puzzle:
        """The question and the facts behind it."""
        world, _ = self.world()
        return world.puzzle(self.id, self.kind, self.id)

    def world(self) -> tuple[World, BM25]:
        """The world it is about, and a search engine over it."""
        return _world(self.size, self.split, self.index // PER_WORLD[self.size])


def generated_tasks(size: str, split: str, length: int) -> Sequence[Task]:
    """The tasks of a generated split, each made when it is asked for."""
    return LazyTasks(length, partial(_task, size, split))


def _task(size: str, split: str, index: int) -> Task:
    recipe = Recipe(size, split, index)
    return Task(recipe.id, recipe.kind, recipe)


@lru_cache(maxsize=600)
def _world(size: str, split: str, number: int) -> tuple[World, BM25]:
    closed = size == "compact"
    world = World(f"{size}/{split}/{number}", SMALL if closed else LARGE, closed=closed)
    return world, BM25.of(list(world.passages()))
