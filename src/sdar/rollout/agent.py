"""One episode: an environment, the tokens that were put in and sampled, and the next prompt."""

from collections.abc import Hashable
from hashlib import blake2b

from sdar.envs.base import Env, Prompts
from sdar.errors import ContextOverflow
from sdar.model.chat import Chat
from sdar.rollout.engine import Request
from sdar.skills.context import SkillContext
from sdar.types import (
    Completion,
    ContextMode,
    EndReason,
    Message,
    Observation,
    StopReason,
    Task,
    Trajectory,
    Turn,
)


def turn_seed(seed: int, task_id: str, index: int, turn: int) -> int:
    """64 bits that depend on nothing but the arguments, so not on the order or the process of an episode.

    >>> turn_seed(0, "train/3", 1, 0) == turn_seed(0, "train/3", 1, 0) != turn_seed(0, "train/3", 1, 1)
    True
    """
    text = "\n".join([str(seed), task_id, str(index), str(turn)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


class Episode:
    """One attempt at a task: `request` a completion and `accept` it, until `end` is set."""

    def __init__(
        self,
        env: Env,
        task: Task,
        index: int,
        *,
        prompts: Prompts,
        chat: Chat,
        context: ContextMode,
        history: int,
        context_length: int,
        skills: SkillContext | None = None,
    ) -> None:
        """Reset `env` to `task` and make the first prompt.

        `history` counts the past turns in a window prompt; `skills` are shown to the player. A first prompt
        that leaves no room in `context_length` raises `ContextOverflow`; a later one ends the episode.
        """
        self.task, self.index = task, index
        self.end: EndReason | None = None
        self.success = False
        self._env, self._prompts, self._chat, self._skills = env, prompts, chat, skills
        self._context, self._history, self._context_length = context, history, context_length
        self._first = self._now = env.reset(task)
        self._turns: list[Turn] = []
        self._seen: list[int] = []
        self._prepare()
        if self.end:
            raise ContextOverflow(
                f"the first prompt of task '{task.id}' has {len(self._added)} tokens, "
                f"which leaves no room in a context of {context_length}"
            )

    @property
    def session(self) -> Hashable:
        """Under which the engine may keep its cache; None in window mode, where prompts do not grow."""
        return (self.task.id, self.index) if self._context is ContextMode.TRANSCRIPT else None

    @property
    def observation(self) -> Observation:
        """What the player sees now."""
        return self._now

    def request(self, seed: int) -> Request:
        """What to ask of the engine now; the random numbers follow from `seed`, task, index and turn."""
        number = turn_seed(seed, self.task.id, self.index, len(self._turns))
        return Request(tuple(self._seen + self._added), number, self.session)

    def accept(self, completion: Completion) -> None:
        """Take the completion as this turn's answer, step the environment and make the next prompt."""
        text = self._chat.decode(completion.tokens)
        step = self._env.step(text)
        self._turns.append(
            Turn(
                observation=self._now,
                messages=self._messages,
                prompt=tuple(self._added),
                completion=completion,
                text=text,
                action=step.action,
                reward=step.reward,
                valid=step.valid,
                metrics=step.metrics,
            )
        )
        self._now, self.success = step.observation, step.success
        if step.done:
            self.end = EndReason.DONE
        elif step.truncated:
            self.end = EndReason.MAX_TURNS
        else:
            if self._context is ContextMode.TRANSCRIPT:
                self._seen += [*self._added, *completion.tokens]
            self._prepare(closed=completion.stop_reason is StopReason.STOP)

    def _prepare(self, closed: bool = True) -> None:
        """Make the coming turn's messages and tokens; without room for them the episode has ended.

        `closed` says that the last completion has its end-of-turn token.
        """
        if self._seen:
            self._messages = tuple(self._prompts.following(self._now))
            self._added = self._chat.continuation(self._messages, closed)
        else:
            self._messages = self._whole_prompt()
            self._added = self._chat.render(self._messages)
        if len(self._seen) + len(self._added) >= self._context_length:
            self.end = EndReason.CONTEXT_FULL

    def _whole_prompt(self) -> tuple[Message, ...]:
        if self._context is ContextMode.TRANSCRIPT:
            messages = self._prompts.opening(self._first)
        else:
            past = self._turns[-self._history :] if self._history else []
            pairs = [(turn.observation, turn.action) for turn in past]
            messages = self._prompts.window(self._first, pairs, self._now, len(self._turns))
        if self._skills is None:
            return tuple(messages)
        return self._skills.apply(messages, self._skills.select(self.task, self._first.goal))

    def trajectory(self) -> Trajectory:
        """The record of an episode that has ended."""
        if self.end is None:
            raise ValueError("the episode has not ended")
        return Trajectory(self.task, self.index, self._context, tuple(self._turns), self.success, self.end)
