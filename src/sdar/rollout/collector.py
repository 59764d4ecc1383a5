"""Plays groups of episodes: one turn of every unfinished episode at a time."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sdar.envs.base import EnvSpec
from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.rollout.agent import Dialogue, Episode
from sdar.rollout.engine import Engine, Sampling
from sdar.rollout.settings import RolloutConfig
from sdar.skills.context import SkillContext
from sdar.types import Group, Task, Trajectory

D = TypeVar("D", bound=Dialogue)
Progress = Callable[[int, int, int], None]
"""Told (episodes that have ended, all episodes, successes) after every turn."""


class Rounds(ABC, Generic[D]):
    """Plays tasks of one environment in rounds: every live episode takes one turn in each."""

    def __init__(self, spec: EnvSpec, config: RolloutConfig, skills: SkillContext | None) -> None:
        """`skills` are shown to the player itself."""
        self.spec, self.config, self.skills = spec, config, skills

    def collect(
        self,
        tasks: Sequence[Task],
        group_size: int,
        seed: int,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> list[Group]:
        """`group_size` episodes of each task, in the order of `tasks`.

        The random numbers of a turn follow from `seed`, the task's id, the place in the group and the turn;
        how tasks are ordered or shared out over processes does not matter. `sampling` is the config's by
        default. Raises `ConfigError` for a task given twice, `ContextOverflow` for a first prompt that does
        not fit.
        """
        config = self.config
        sampling = sampling or Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        if len({task.id for task in tasks}) < len(tasks):
            raise ConfigError("a task is listed twice; for more episodes of a task use a larger group")
        waiting = deque((task, index) for task in tasks for index in range(group_size))
        total = len(waiting)
        live: list[D] = []
        ended: dict[tuple[str, int], Trajectory] = {}
        try:
            while waiting or live:
                while waiting and len(live) < config.max_live:
                    live.append(self._start(*waiting.popleft()))
                self._turn(live, seed, sampling)
                over = [episode for episode in live if episode.end]
                self._release(over)
                live = [episode for episode in live if not episode.end]
                ended |= {(episode.task.id, episode.index): episode.trajectory() for episode in over}
                if on_progress:
                    on_progress(len(ended), total, sum(trajectory.success for trajectory in ended.values()))
        finally:
            self._release(live)
        return [Group(task, [ended[task.id, index] for index in range(group_size)]) for task in tasks]

    @abstractmethod
    def _start(self, task: Task, index: int) -> D:
        """A fresh episode."""

    @abstractmethod
    def _turn(self, live: Sequence[D], seed: int, sampling: Sampling) -> None:
        """Let every live episode take one turn."""

    @abstractmethod
    def _release(self, episodes: Sequence[D]) -> None:
        """Free what was kept for these episodes."""


class Collector(Rounds[Episode]):
    """Plays tasks with an engine, in tokens."""

    def __init__(
        self,
        spec: EnvSpec,
        engine: Engine,
        chat: Chat,
        config: RolloutConfig,
        skills: SkillContext | None = None,
    ) -> None:
        """`skills` are shown to the player itself."""
        super().__init__(spec, config, skills)
        self.engine, self.chat = engine, chat

    def _start(self, task: Task, index: int) -> Episode:
        return Episode(
            self.spec.make(),
            task,
            index,
            prompts=self.spec.prompts(),
            chat=self.chat,
            context=self.config.context,
            history=self.config.history,
            context_length=self.engine.context_length,
            skills=self.skills,
        )

    def _turn(self, live: Sequence[Episode], seed: int, sampling: Sampling) -> None:
        completions = self.engine.generate([episode.request(seed) for episode in live], sampling)
        self.spec.prefetch(self.chat.decode(completion.tokens) for completion in completions)
        for episode, completion in zip(live, completions, strict=True):
            episode.accept(completion)

    def _release(self, episodes: Sequence[Episode]) -> None:
        self.engine.release([episode.session for episode in episodes if episode.session is not None])
