"""Our environments as Gymnasium environments, for others' agents; needs the extra `gym`. No torch.

    gymnasium.make("sdar.envs.gym:sdar/ALFWorld-v0", split="eval_out_of_distribution", data=DIRECTORY)

The part before the colon is the module that Gymnasium imports, which makes the ids known. Keyword arguments
but `split` are settings of the environment, as `--env.*`.
"""

from typing import Any

import gymnasium
from gymnasium.spaces import Text

from sdar.envs.base import EnvSpec, envs
from sdar.errors import ConfigError, suggest
from sdar.types import Observation, Step

IDS = {"sdar/ALFWorld-v0": "alfworld", "sdar/WebShop-v0": "webshop", "sdar/SearchQA-v0": "search_qa"}
LONGEST = 1_000_000
"""Characters of an observation or action, at most."""


class AnyText(Text):
    """All texts up to a length, whatever characters they have; samples are letters and digits."""

    def contains(self, x: Any) -> bool:
        """Whether `x` is such a text."""
        return isinstance(x, str) and len(x) <= self.max_length


class TextEnv(gymnasium.Env[str, str]):
    """Episodes of one environment. An observation and an action are texts; any action is allowed.

    `info` has the goal, the admissible commands where the environment knows them, the task's id and kind; and
    after a step also whether the text was valid, the action read out of it, success, and what the environment
    measures.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's own name

    def __init__(self, name: str, split: str = "", render_mode: str | None = None, **settings: Any) -> None:
        self.spec_of_tasks: EnvSpec = envs[name](**settings)
        splits = self.spec_of_tasks.splits()
        if split and split not in splits:
            raise ConfigError(f"unknown split '{split}' of {name}: {suggest(split, splits)}")
        self.render_mode = render_mode
        self.observation_space = AnyText(LONGEST, min_length=0)
        self.action_space = AnyText(256, min_length=0)
        self._tasks = self.spec_of_tasks.tasks(split or splits[0])
        self._env = self.spec_of_tasks.make()
        self._seen = Observation("")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start the task whose number in the split is `options["task"]`, or one that the seed draws."""
        super().reset(seed=seed)
        number = (options or {}).get("task")
        if number is None:
            number = int(self.np_random.integers(len(self._tasks)))
        if not 0 <= number < len(self._tasks):
            raise ConfigError(f"there is no task {number}: the split has {len(self._tasks)} tasks")
        self._task = self._tasks[number]
        self._seen = self._env.reset(self._task)
        return self._seen.text, self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action."""
        step = self._env.step(action)
        self._seen = step.observation
        return self._seen.text, float(step.reward), step.done, step.truncated, self._info(step)

    def render(self) -> str:
        """The last observation."""
        return self._seen.text

    def _info(self, step: Step | None = None) -> dict[str, Any]:
        told: dict[str, Any] = {"goal": self._seen.goal, "admissible": self._seen.admissible}
        told |= {"task": self._task.id, "kind": self._task.kind}
        if step is not None:
            told |= {"valid": step.valid, "action": step.action, "success": step.success, **step.metrics}
        return told


def register() -> None:
    """Make the ids known to `gymnasium.make`, once."""
    for id, name in IDS.items():
        if id not in gymnasium.registry:
            gymnasium.register(id, entry_point="sdar.envs.gym:TextEnv", kwargs={"name": name})


register()
