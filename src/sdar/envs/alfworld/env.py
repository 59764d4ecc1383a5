"""One ALFWorld episode at a time, from the policy's text to the next observation, on either engine."""

from collections.abc import Callable
from typing import Protocol

from sdar.envs.alfworld.prompts import Parser
from sdar.types import Observation, Step, Task


class Play(Protocol):
    """A game being played; `sdar.envs.alfworld.engine.Episode` or its TextWorld twin."""

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""

    def reset(self) -> str:
        """Start over; the first observation."""

    def step(self, command: str) -> str:
        """Give a command; what the game answers."""

    @property
    def admissible(self) -> tuple[str, ...]:
        """The commands that would do something now."""


class AlfworldEnv:
    """Plays tasks. `begin` turns a task into a game ready to be played and its goal sentence."""

    def __init__(
        self, begin: Callable[[Task], tuple[Play, str]], parse: Parser, max_turns: int, reward: float
    ) -> None:
        self._begin, self._parse = begin, parse
        self._max_turns, self._reward = max_turns, reward

    def reset(self, task: Task) -> Observation:
        """Start a task; the first observation has the room and the task sentence in it."""
        self._play, self._goal = self._begin(task)
        self._num_turns = 0
        self._last: Step | None = None
        return self._observe(self._play.reset())

    def step(self, text: str) -> Step:
        """Play the command in `text`; after the end the last step is returned unchanged."""
        if self._last and (self._last.done or self._last.truncated):
            return self._last
        action, valid = self._parse(text, self._play.admissible)
        observation = self._observe(self._play.step(action))
        self._num_turns += 1
        won = self._play.won
        self._last = Step(
            observation,
            action,
            reward=self._reward if won else 0.0,
            done=won,
            success=won,
            valid=valid,
            truncated=not won and self._num_turns >= self._max_turns,
        )
        return self._last

    def _observe(self, text: str) -> Observation:
        return Observation(text, self._goal, self._play.admissible)
