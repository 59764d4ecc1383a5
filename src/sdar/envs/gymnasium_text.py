"""Gymnasium environments that speak text, to train on: `--plugins sdar.envs.gymnasium_text`.

    sdar train --plugins sdar.envs.gymnasium_text my_module --env gymnasium --env.id mine/Game-v0 ...

A task is a seed for `reset`. Observations are texts; actions are texts, or the numbers of a discrete space.
An action outside of the space is invalid, changes nothing and costs a turn.
"""

from dataclasses import dataclass
from typing import Any

from sdar.envs.base import Env, envs
from sdar.envs.elsewhere import NumberedSpec
from sdar.errors import ConfigError
from sdar.types import Observation, Step, Task


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


@envs.register("gymnasium")
@dataclass(frozen=True, kw_only=True)
class GymnasiumSpec(NumberedSpec):
    """A Gymnasium environment that speaks text, by its id; its tasks are seeds."""

    id: str = ""
    """What `gymnasium.make` calls it; `module:id` imports the module that registers it."""

    @property
    def source(self) -> str:
        """The id."""
        return self.id

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

    def make(self) -> Env:
        """A fresh environment."""
        return GymnasiumEnv(self)
