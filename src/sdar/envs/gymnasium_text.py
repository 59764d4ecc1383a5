"""Gymnasium environments that speak text, to train on: `--plugins sdar.envs.gymnasium_text`.

    sdar train --plugins sdar.envs.gymnasium_text my_module --env gymnasium --env.id mine/Game-v0 ...

A task is a seed for `reset`. Observations are texts; actions are texts, or the numbers of a discrete space.
An action outside of the space is invalid, changes nothing and costs a turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdar.envs.base import Env, EnvSpec, Panel, Prompts, envs
from sdar.envs.prompting import CompactFrame
from sdar.errors import ConfigError, suggest
from sdar.types import Message, Observation, Step, Task


class GymnasiumEnv:
    """Episodes of one Gymnasium environment."""

    def __init__(self, spec: "GymnasiumSpec") -> None:
        self._spec, self._game = spec, spec.open()

    def reset(self, task: Task) -> Observation:
        """Start with the task's seed."""
        text, info = self._game.reset(seed=task.payload)
        self._turns = 0
        self._last: Step | None = None
        return self._observe(text, info)

    def step(self, text: str) -> Step:
        """Read an action out of the text and take it."""
        if self._last and (self._last.done or self._last.truncated):
            return self._last
        self._turns += 1
        cut, action = self._turns >= self._spec.max_turns, text.strip()
        space = self._game.action_space
        move: Any = int(action) if action.isascii() and action.isdigit() and hasattr(space, "n") else action
        if space.contains(move):
            seen, reward, done, truncated, info = self._game.step(move)
            self._seen = self._observe(seen, info)
            won = bool(info.get("success", reward > 0)) and bool(done)
            self._last = Step(
                self._seen, action, reward=float(reward), done=bool(done), success=won,
                truncated=not done and (bool(truncated) or cut),
            )  # fmt: skip
        else:
            self._last = Step(self._seen, action, valid=False, truncated=cut)
        return self._last

    def _observe(self, text: Any, info: dict[str, Any]) -> Observation:
        goal = str(info.get("goal", self._spec.goal))
        self._seen = Observation(str(text), goal, tuple(info.get("admissible", ())))
        return self._seen


class GymnasiumPrompts(CompactFrame):
    """The goal and the observation are the message, the bare action is the answer."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """Before the first action."""
        return (Message("user", "\n".join(part for part in (first.goal, first.text) if part)),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """Between two actions."""
        return (Message("user", observation.text),)


@envs.register("gymnasium")
@dataclass(frozen=True, kw_only=True)
class GymnasiumSpec(EnvSpec):
    """A Gymnasium environment that speaks text, by its id; its tasks are seeds."""

    id: str = ""
    """What `gymnasium.make` calls it; `module:id` imports the module that registers it."""
    num_train: int = 1000
    """Training tasks, whose seeds are 0, 1, ..."""
    num_held_out: int = 100
    """Tasks of the panel, whose seeds follow."""
    max_turns: int = 20
    """Actions after which an episode is cut."""
    goal: str = ""
    """The task in words, where the environment's `info` has no `goal`."""

    def open(self) -> Any:
        """The environment itself. Raises `ConfigError` when it cannot be made or speaks no text."""
        try:
            import gymnasium
        except ImportError:
            raise ConfigError("env gymnasium needs the package: pip install 'sdar[gym]'") from None
        try:
            game = gymnasium.make(self.id)
        except (gymnasium.error.Error, ImportError, ValueError) as error:
            raise ConfigError(f"env.id '{self.id}': {str(error).splitlines()[0]}") from error
        spaces = gymnasium.spaces
        if not isinstance(game.observation_space, spaces.Text):
            raise ConfigError(f"env.id '{self.id}': its observations are no text: {game.observation_space}")
        if not isinstance(game.action_space, spaces.Text | spaces.Discrete):
            raise ConfigError(f"env.id '{self.id}': no text and no number is an action: {game.action_space}")
        return game

    def splits(self) -> tuple[str, ...]:
        """Seeds to train on, and others."""
        return ("train", "held_out")

    def tasks(self, split: str) -> Sequence[Task]:
        """A seed each."""
        if split not in self.splits():
            raise ConfigError(f"unknown split '{split}' of gymnasium: {suggest(split, self.splits())}")
        seeds = range(self.num_train)
        if split == "held_out":
            seeds = range(self.num_train, self.num_train + self.num_held_out)
        return [Task(f"{self.id}/{seed}", self.id, seed) for seed in seeds]

    def panels(self) -> tuple[str, ...]:
        """The held-out seeds."""
        return ("held_out",)

    def panel(self, name: str) -> Panel:
        """A panel by name."""
        return Panel(name, self.tasks(name))

    def make(self) -> Env:
        """A fresh environment."""
        return GymnasiumEnv(self)

    def prompts(self) -> Prompts:
        """The only prompt set."""
        return GymnasiumPrompts()
