"""Generated games as tasks: numbered, made when they are played, kept for a while."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from sdar.envs.alfworld.game import Game, GameText
from sdar.envs.alfworld.generate import generate
from sdar.envs.alfworld.layouts import KINDS
from sdar.envs.alfworld.problem import Kind
from sdar.envs.alfworld.text import Rules
from sdar.envs.tasks import LazyTasks
from sdar.types import Task


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a generated game is made from; the payload of its task."""

    size: str
    split: str
    index: int

    @property
    def id(self) -> str:
        """The id of its task, like `gen-compact/train/000123`."""
        return f"gen-{self.size}/{self.split}/{self.index:06d}"

    def text(self) -> GameText:
        """Make the game."""
        made = generate(self.size, self.split, self.index)
        return GameText(self.id, Kind(made.kind), made.goal, made.problem, Rules.V2_1_2)

    def game(self, rules: Rules | None = None) -> Game:
        """The game for the native engine, by `rules` or else by the newest release."""
        return _made(self, rules)


def generated_tasks(size: str, split: str, length: int) -> Sequence[Task]:
    """The tasks of a generated split, each made when it is asked for."""
    return LazyTasks(length, partial(_task, size, split))


def _task(size: str, split: str, index: int) -> Task:
    recipe = Recipe(size, split, index)
    return Task(recipe.id, KINDS[index % len(KINDS)], recipe)


@lru_cache(maxsize=1024)
def _made(recipe: Recipe, rules: Rules | None) -> Game:
    return recipe.text().parse(rules)
