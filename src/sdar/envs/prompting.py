"""What the prompts of the environments have in common: their frames, and the published form of an answer."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from sdar.types import Message, Observation

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_START, _END = "<action>", "</action>"


class FullFrame(ABC):
    """The frame of prompts for pretrained models, which is that of the published prompts.

    A window prompt has the task, the number of steps, the latest turns, a line each, and the present one.
    """

    @abstractmethod
    def opening(self, first: Observation) -> tuple[Message, ...]:
        """See `sdar.envs.base.Prompts`."""

    @abstractmethod
    def parts(self, first: Observation, past: str, observation: Observation, number: int) -> Sequence[str]:
        """The paragraphs of the prompt of step `number`; `past` is the one about the latest turns."""

    def seen(self, observation: Observation) -> str:
        """An observation in the line of its turn."""
        return observation.text

    def line(self, number: int, before: Observation, action: str, after: Observation) -> str:
        """The line of step `number`."""
        return f"[Observation {number}: '{self.seen(before)}', Action {number}: '{action}']"

    def window(
        self,
        first: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        num_done: int,
    ) -> tuple[Message, ...]:
        """The opening at the first turn; later what `parts` puts together."""
        if not num_done:
            return self.opening(first)
        afters = [*(before for before, _ in history[1:]), observation]
        turns = zip(history, afters, strict=False)
        lines = [
            self.line(number, before, action, after)
            for number, ((before, action), after) in enumerate(turns, num_done - len(history) + 1)
        ]
        title = f"So far you have taken {num_done} step(s). The latest {len(history)}:"
        parts = self.parts(first, "\n".join([title, *lines]), observation, num_done + 1)
        return (Message("user", "\n\n".join(parts)),)

    def answer(self, action: str) -> str:
        """An answer of the published form, with the shortest of reasons."""
        return f"<think>The next step is: {action}.</think>\n{_START}{action}{_END}"


class CompactFrame(ABC):
    """The frame of prompts for the embedded model: the task, then turns, a line each."""

    @abstractmethod
    def opening(self, first: Observation) -> tuple[Message, ...]:
        """See `sdar.envs.base.Prompts`."""

    @abstractmethod
    def following(self, observation: Observation) -> tuple[Message, ...]:
        """See `sdar.envs.base.Prompts`."""

    def window(
        self,
        first: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        num_done: int,
    ) -> tuple[Message, ...]:
        """The opening, then the last turns and the present observation."""
        if not num_done:
            return self.opening(first)
        messages = list(self.opening(first))
        for before, action in history:
            messages += [] if before is first else self.following(before)
            messages.append(Message("assistant", self.answer(action)))
        messages += self.following(observation)
        return (Message("user", "\n".join(message.content for message in messages)),)

    def answer(self, action: str) -> str:
        """The bare action."""
        return action


def parse_tagged(text: str, tail: int) -> tuple[str, bool]:
    """The published rule: lower-case, between the first `<action>` and the first `</action>`.

    Without such a pair the last `tail` characters are the action and the text is invalid. It is also invalid
    without `<think>` and `</think>`, or with any Chinese character. The action need not be possible.
    Departure: `<think>` may be missing where the thought is closed before the action, because some chat
    templates open it in the prompt.

    >>> parse_tagged("<think>where?</think><action> Go to desk 1 </action>", tail=30)
    ('go to desk 1', True)
    >>> parse_tagged("there.</think><action>look</action>", tail=30)
    ('look', True)
    """
    lowered = text.lower()
    start, end = lowered.find(_START), lowered.find(_END)
    if start < 0 or end < 0:
        return lowered[-tail:], False
    closed = text.find("</think>")
    opened = "<think>" in text or closed < start
    formed = closed >= 0 and opened and not _CHINESE.search(text)
    return lowered[start + len(_START) : end].strip(), formed
