"""What adapters to environments from elsewhere have in common: tasks are numbers, prompts are plain."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdar.envs.base import EnvSpec, Panel, Prompts
from sdar.envs.prompting import CompactFrame
from sdar.errors import ConfigError, suggest
from sdar.types import Message, Observation, Task


class PlainPrompts(CompactFrame):
    """The goal and the observation are the message, the bare action is the answer."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """Before the first action."""
        return (Message("user", "\n".join(part for part in (first.goal, first.text) if part)),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """Between two actions."""
        return (Message("user", observation.text),)


def json_or_text(text: str) -> Any:
    """What a text says as JSON, or the text itself where it is none.

    >>> json_or_text("7"), json_or_text('{"a": 1}'), json_or_text("Wordle-v0")
    (7, {'a': 1}, 'Wordle-v0')
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True, kw_only=True)
class NumberedSpec(EnvSpec):
    """Tasks that are numbers, which are payloads: seeds of a reset, or rows of a list."""

    num_train: int = 1000
    """Training tasks: the numbers 0, 1, ..."""
    num_held_out: int = 100
    """Tasks of the panel: the numbers that follow."""
    max_turns: int = 20
    """Actions after which an episode is cut."""
    goal: str = ""
    """The task in words, where the environment does not say it itself."""

    @property
    @abstractmethod
    def source(self) -> str:
        """What the environment is called there; the kind of all its tasks."""

    def splits(self) -> tuple[str, ...]:
        """Numbers to train on, and others."""
        return ("train", "held_out")

    def numbers(self, split: str) -> range:
        """The numbers of a split."""
        first = 0 if split == "train" else self.num_train
        return range(first, first + (self.num_train if split == "train" else self.num_held_out))

    def tasks(self, split: str) -> Sequence[Task]:
        """A number each."""
        if split not in self.splits():
            raise ConfigError(f"unknown split '{split}' of {self.source}: {suggest(split, self.splits())}")
        return [Task(f"{self.source}/{number}", self.source, number) for number in self.numbers(split)]

    def panels(self) -> tuple[str, ...]:
        """The held-out tasks."""
        return ("held_out",)

    def panel(self, name: str) -> Panel:
        """A panel by name."""
        return Panel(name, self.tasks(name))

    def prompts(self) -> Prompts:
        """The only prompt set."""
        return PlainPrompts()
