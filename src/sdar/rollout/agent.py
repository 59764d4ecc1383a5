"""One episode: an environment, what was put in and sampled, and the next prompt, in messages or in tokens."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Protocol

from sdar.envs.base import Env, Prompts
from sdar.errors import ContextOverflow, DataError
from sdar.model.chat import Chat
from sdar.rollout.engine import Request
from sdar.rollout.settings import LongPrompt
from sdar.skills.context import prepend
from sdar.types import (
    Completion,
    ContextMode,
    EndReason,
    Message,
    Observation,
    Step,
    StopReason,
    Task,
    Trajectory,
    Turn,
    is_number,
)


def turn_seed(seed: int, task_id: str, index: int, turn: int) -> int:
    """64 bits that depend on nothing but the arguments, so not on the order or the process of an episode.

    >>> turn_seed(0, "train/3", 1, 0) == turn_seed(0, "train/3", 1, 0) != turn_seed(0, "train/3", 1, 1)
    True
    """
    text = "\n".join([str(seed), task_id, str(index), str(turn)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


class Shows(Protocol):
    """What stands at the head of a player's prompts: `SkillContext`, or a fixed text."""

    def note(self, task: Task, goal: str, messages: Sequence[Message]) -> str:
        """The text for a prompt; empty: none."""


@dataclass(frozen=True)
class Always:
    """The same text in every prompt."""

    text: str

    def note(self, task: Task, goal: str, messages: Sequence[Message]) -> str:
        """See `Shows`."""
        return self.text


class Dialogue:
    """One attempt at a task in messages: `act` on an answer to them and `record` it, until `end` is set."""

    def __init__(
        self,
        env: Env,
        task: Task,
        index: int,
        *,
        prompts: Prompts,
        context: ContextMode,
        history: int,
        skills: Shows | None = None,
    ) -> None:
        """Reset `env` to `task` and make the first messages.

        `history` counts the past turns in a window prompt; `skills` are shown to the player.
        """
        self.task, self.index = task, index
        self.end: EndReason | None = None
        self.success = False
        self._env, self._prompts, self._skills = env, prompts, skills
        self._context, self._history = context, history
        self._first = self._now = env.reset(task)
        self._turns: list[Turn] = []
        self._shown = ""
        self.messages = self._whole_prompt()
        """The prompt of the coming turn; in transcript mode, after the first turn, what is new in it."""

    @property
    def conversation(self) -> tuple[Message, ...]:
        """All that the player sees in the coming turn, its own answers among it."""
        if self._context is ContextMode.WINDOW:
            return self.messages
        past = [[*turn.messages, Message("assistant", turn.text)] for turn in self._turns]
        return (*chain.from_iterable(past), *self.messages)

    @property
    def observation(self) -> Observation:
        """What the player sees now."""
        return self._now

    def turn_seed(self, seed: int) -> int:
        """The seed of the coming turn, which follows from `seed`, task, index and turn."""
        return turn_seed(seed, self.task.id, self.index, len(self._turns))

    def act(self, text: str) -> Step:
        """What the environment makes of `text`; the only call that may wait, and may be made in a thread.

        Raises `DataError` when the environment gives something else than finite numbers.
        """
        step = self._env.step(text)
        for name, value in {"reward": step.reward, **step.metrics}.items():
            if not is_number(value):
                raise DataError(
                    f"turn {len(self._turns) + 1} of task '{self.task.id}': the environment gives {name} "
                    f"{value!r}, which is not a finite number; sdar check env finds such faults"
                )
        return step

    def record(self, text: str, completion: Completion, step: Step, prompt: Sequence[int] = ()) -> None:
        """Take an answer and its step as this turn, and make the next messages; `prompt` are its tokens."""
        self._turns.append(
            Turn(
                observation=self._now,
                messages=self.messages,
                prompt=prompt,
                completion=completion,
                text=text,
                action=step.action,
                reward=step.reward,
                valid=step.valid,
                metrics=step.metrics,
                shown=self._shown,
            )
        )
        self._now, self.success = step.observation, step.success
        if step.done:
            self.end = EndReason.DONE
        elif step.truncated:
            self.end = EndReason.MAX_TURNS
        elif self._context is ContextMode.TRANSCRIPT:
            self.messages, self._shown = tuple(self._prompts.following(self._now)), ""
        else:
            self.messages = self._whole_prompt()

    def overflow(self, reason: str) -> None:
        """End because the coming prompt does not fit the player's context; `reason` says of the prompt why.

        Raises `ContextOverflow` before the first turn: then no episode of the task can be played.
        """
        if not self._turns:
            raise ContextOverflow(f"the first prompt of task '{self.task.id}' {reason}")
        self.end = EndReason.CONTEXT_FULL

    def _whole_prompt(self) -> tuple[Message, ...]:
        if self._context is ContextMode.TRANSCRIPT:
            messages = self._prompts.opening(self._first)
        else:
            past = self._turns[-self._history :] if self._history else []
            pairs = [(turn.observation, turn.action) for turn in past]
            messages = self._prompts.window(self._first, pairs, self._now, len(self._turns))
        self._shown = self._skills.note(self.task, self._first.goal, messages) if self._skills else ""
        return prepend(messages, self._shown)

    def trajectory(self) -> Trajectory:
        """The record of an episode that has ended."""
        if self.end is None:
            raise ValueError("the episode has not ended")
        turns = tuple(self._turns)
        return Trajectory(self.task, self.index, self._context, turns, self.success, self.end, self._now)


class Episode(Dialogue):
    """A dialogue in tokens: `request` a completion, `act` on its text, `accept` both, until `end` is set."""

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
        skills: Shows | None = None,
        max_prompt: int = 0,
        long_prompt: LongPrompt = LongPrompt.END,
    ) -> None:
        """Reset `env` to `task` and make the first prompt.

        One that leaves no room in `context_length` raises `ContextOverflow`; a later one ends the episode. So
        does one of more than `max_prompt` tokens, if that is not 0, unless `long_prompt` says that it is cut,
        or a `DataError` that ends the run.
        """
        super().__init__(env, task, index, prompts=prompts, context=context, history=history, skills=skills)
        self._chat, self._context_length = chat, context_length
        self._max_prompt, self._long_prompt = max_prompt or context_length, long_prompt
        self._seen: list[int] = []
        self._added = chat.render(self.messages)
        self._check_room()

    @property
    def session(self) -> Hashable:
        """Under which the engine may keep its cache; None in window mode, where prompts do not grow."""
        return (self.task.id, self.index) if self._context is ContextMode.TRANSCRIPT else None

    def request(self, seed: int) -> Request:
        """What to ask of the engine now; the random numbers follow from `seed`, task, index and turn."""
        return Request(tuple(self._seen + self._added), self.turn_seed(seed), self.session)

    def accept(self, text: str, completion: Completion, step: Step) -> None:
        """Take the completion, its text and what came of it as this turn, and make the next prompt."""
        self.record(text, completion, step, self._added)
        if self.end:
            return
        if self._context is ContextMode.TRANSCRIPT:
            self._seen += [*self._added, *completion.tokens]
            closed = completion.stop_reason is StopReason.STOP
            self._added = self._chat.continuation(self.messages, closed)
        else:
            self._added = self._chat.render(self.messages)
        self._check_room()

    def dictate(self, tokens: tuple[int, ...]) -> None:
        """Take a turn with an answer that nobody sampled; its log-probs are 0."""
        text = self._chat.decode(tokens)
        self.accept(text, Completion(tokens, (0.0,) * len(tokens), StopReason.STOP), self.act(text))

    def _check_room(self) -> None:
        if self._long_prompt is LongPrompt.CUT:
            self._added = self._added[-self._max_prompt :]
        length = len(self._seen) + len(self._added)
        if length >= self._context_length:
            self.overflow(f"has {length} tokens, which leaves no room in a context of {self._context_length}")
        elif length > self._max_prompt:
            what = f"has {length} tokens, and rollout.max_prompt is {self._max_prompt}"
            if self._long_prompt is LongPrompt.ERROR:
                turn = f"prompt {len(self._turns) + 1} of task '{self.task.id}'"
                raise DataError(f"{turn} {what}: rollout.long_prompt 'end' would end the episode instead")
            self.overflow(what)
