"""An environment in one file: find a number by asking for it and being told "higher" or "lower".

sdar check env guess --plugins examples/my_env.py
sdar train examples/my_env.toml
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sdar.envs.base import Env, EnvSpec, Expert, Panel, Prompts, envs
from sdar.envs.prompting import CompactFrame
from sdar.errors import ConfigError, suggest
from sdar.types import Message, Observation, Step, Task

TOP = 64


class GuessEnv:
    """One game; the task's payload is the number."""

    def __init__(self, max_turns: int) -> None:
        self._max_turns = max_turns

    def reset(self, task: Task) -> Observation:
        """Start: nothing is known yet."""
        self._number: int = task.payload
        self._turns = 0
        self._last: Step | None = None
        return self._observe(f"I think of a number from 1 to {TOP}.")

    def step(self, text: str) -> Step:
        """Take a guess. Any text is allowed; one that is not a number is invalid and changes nothing."""
        if self._last and (self._last.done or self._last.truncated):
            return self._last
        action = text.strip()
        self._turns += 1
        guess = int(action) if action.isascii() and action.isdigit() and len(action) < 4 else None
        won = guess == self._number
        if guess is None:
            answer = "That is no number."
        else:
            answer = "Found!" if won else f"{guess} is too {'low' if guess < self._number else 'high'}."
        self._last = Step(
            self._observe(answer),
            action,
            reward=float(won),
            done=won,
            success=won,
            valid=guess is not None,
            truncated=not won and self._turns >= self._max_turns,
        )
        return self._last

    def _observe(self, text: str) -> Observation:
        return Observation(text, goal="find the number")


class GuessPrompts(CompactFrame):
    """The observation is the message, the bare guess is the answer."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """Before the first guess."""
        return (Message("user", first.text),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """Between two guesses."""
        return (Message("user", observation.text),)


class Halver:
    """Guesses the middle of what is left; with probability `noise`, any number of it."""

    def __init__(self, seed: int, noise: float) -> None:
        self._low, self._high = 1, TOP
        self._random, self._noise = random.Random(seed), noise

    def act(self, observation: Observation) -> str:
        """The next guess."""
        words = observation.text.split()
        if words[-1] == "low.":
            self._low = max(self._low, int(words[0]) + 1)
        elif words[-1] == "high.":
            self._high = min(self._high, int(words[0]) - 1)
        if self._random.random() < self._noise:
            return str(self._random.randint(self._low, self._high))
        return str((self._low + self._high) // 2)


@envs.register("guess")
@dataclass(frozen=True, kw_only=True)
class GuessSpec(EnvSpec):
    """Settings of the number game."""

    max_turns: int = 7
    """Guesses after which a game is lost."""

    def splits(self) -> tuple[str, ...]:
        """The training split first."""
        return ("train", "held_out")

    def tasks(self, split: str) -> Sequence[Task]:
        """Every fourth number is held out. The kind is what skills and rates are told apart by."""
        if split not in self.splits():
            raise ConfigError(f"unknown split '{split}' of guess: {suggest(split, self.splits())}")
        numbers = [n for n in range(1, TOP + 1) if (n % 4 == 0) == (split == "held_out")]
        return [Task(f"{split}/{n}", "low" if n <= TOP // 2 else "high", n) for n in numbers]

    def panels(self) -> tuple[str, ...]:
        """One fixed evaluation panel."""
        return ("held_out",)

    def panel(self, name: str) -> Panel:
        """A panel by name."""
        return Panel(name, self.tasks(name))

    def make(self) -> Env:
        """A fresh game."""
        return GuessEnv(self.max_turns)

    def prompts(self) -> Prompts:
        """The only prompt set."""
        return GuessPrompts()

    def experts(self) -> tuple[str, ...]:
        """Who can demonstrate the game: needed to train the embedded model, and a row in every table."""
        return ("halver",)

    def expert(self, name: str, env: Env, task: Task, seed: int, noise: float = 0.0) -> Expert:
        """The expert for one game."""
        return Halver(seed, noise)
