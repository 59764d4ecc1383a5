"""The smallest text game: walk along a corridor to a door. For tests of what is built on environments."""

from collections.abc import Sequence
from dataclasses import dataclass

from sdar.envs.base import Env, EnvSpec, Expert, Panel, Prompts, envs
from sdar.errors import ConfigError, suggest
from sdar.types import Message, Observation, Step, Task

_MOVES = {"left": -1, "right": 1}


class ToyPrompts:
    """The observation is the message; the answer is the command."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The first observation."""
        return (Message("user", first.text),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """The next observation."""
        return (Message("user", observation.text),)

    def window(
        self,
        first: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        num_done: int,
    ) -> tuple[Message, ...]:
        """The last actions and the observation."""
        return (Message("user", " ".join([*(action for _, action in history), observation.text])),)

    def answer(self, action: str) -> str:
        """The bare command."""
        return action


class ToyEnv:
    """A corridor; the task's payload is where the door is, counted from the start."""

    def __init__(self, max_turns: int) -> None:
        self._max_turns = max_turns

    def reset(self, task: Task) -> Observation:
        """Stand at the start of the corridor."""
        self.door: int = task.payload
        self.at = self._turns = 0
        self._last: Step | None = None
        return self._observe()

    def step(self, text: str) -> Step:
        """Walk; any text but `left` or `right` is invalid and does nothing."""
        if self._last and (self._last.done or self._last.truncated):
            return self._last
        action = text.strip()
        self._turns += 1
        self.at += _MOVES.get(action, 0)
        won = self.at == self.door
        self._last = Step(
            self._observe(),
            action,
            reward=float(won),
            done=won,
            success=won,
            valid=action in _MOVES,
            truncated=not won and self._turns >= self._max_turns,
        )
        return self._last

    def _observe(self) -> Observation:
        side = "here" if self.at == self.door else "on the right" if self.at < self.door else "on the left"
        return Observation(f"The door is {side}.", "reach the door", tuple(_MOVES))


class ToyExpert:
    """Walks towards the door; a mistake is a step the other way."""

    def act(self, observation: Observation) -> str:
        """The command to give now."""
        return "right" if "right" in observation.text else "left"


@envs.register("toy")
@dataclass(frozen=True, kw_only=True)
class ToySpec(EnvSpec):
    """A corridor with a door at one end: the smallest text game, for tests."""

    max_turns: int = 8
    """Actions after which an episode is cut."""

    def splits(self) -> tuple[str, ...]:
        """Doors near and far."""
        return ("train", "held_out")

    def tasks(self, split: str) -> Sequence[Task]:
        """Doors up to three steps away; the held-out ones are farther."""
        if split not in self.splits():
            raise ConfigError(f"unknown split '{split}' of toy: {suggest(split, self.splits())}")
        near, far = (1, 3) if split == "train" else (4, 5)
        doors = [side * steps for steps in range(near, far + 1) for side in (-1, 1)]
        return [Task(f"{split}/{door:+d}", "left" if door < 0 else "right", door) for door in doors]

    def panels(self) -> tuple[str, ...]:
        """One panel: the held-out doors."""
        return ("held_out",)

    def panel(self, name: str) -> Panel:
        """A panel by name."""
        return Panel(name, self.tasks(name))

    def make(self) -> Env:
        """A fresh corridor."""
        return ToyEnv(self.max_turns)

    def prompts(self) -> Prompts:
        """The only prompt set."""
        return ToyPrompts()

    def experts(self) -> tuple[str, ...]:
        """One expert."""
        return ("walker",)

    def expert(self, name: str, env: Env, task: Task, seed: int, noise: float = 0.0) -> Expert:
        """The expert, which never errs."""
        return ToyExpert()
