"""Plays tasks with a scripted expert instead of a model: the reference rows of a panel."""

from collections.abc import Sequence

from sdar.envs.base import EnvSpec
from sdar.rollout.agent import turn_seed
from sdar.rollout.attempts import Attempt, Plays, Progress
from sdar.rollout.engine import Sampling
from sdar.types import NOTHING, ContextMode, EndReason, Task, Trajectory, Turn


class ExpertCollector(Plays):
    """Collects episodes of one of the environment's experts; their trajectories have no tokens."""

    def __init__(self, spec: EnvSpec, expert: str) -> None:
        """`expert` is one of `spec.experts()`."""
        self.spec, self.expert = spec, expert

    def play(
        self,
        attempts: Sequence[Attempt],
        seed: int,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> list[Trajectory]:
        """See `Plays.play`; the dice follow from seed, task and index."""
        played: list[Trajectory] = []
        won = 0
        for task, index in attempts:
            played.append(self._play(task, index, seed))
            won += played[-1].success
            if on_progress:
                on_progress(len(played), len(attempts), won)
        return played

    def _play(self, task: Task, index: int, seed: int) -> Trajectory:
        env, prompts = self.spec.make(), self.spec.prompts()
        seen = env.reset(task)
        expert = self.spec.expert(self.expert, env, task, turn_seed(seed, task.id, index, 0))
        turns: list[Turn] = []
        while True:
            text = prompts.answer(expert.act(seen))
            step = env.step(text)
            turns.append(
                Turn(seen, (), (), NOTHING, text, step.action, step.reward, step.valid, step.metrics)
            )
            if step.done or step.truncated:
                end = EndReason.DONE if step.done else EndReason.MAX_TURNS
                mode, last = ContextMode.TRANSCRIPT, step.observation
                return Trajectory(task, index, mode, tuple(turns), step.success, end, last)
            seen = step.observation
