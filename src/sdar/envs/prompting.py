"""What the prompts of the environments have in common: their frames, and the published form of an answer."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from sdar.envs.prompt_files import Templates
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
        title = f"So far you have taken {num_done} step(s). The latest {len(history)}:"
        past = "\n".join([title, *self.lines(history, observation, num_done)])
        return (Message("user", "\n\n".join(self.parts(first, past, observation, num_done + 1))),)

    def lines(
        self, history: Sequence[tuple[Observation, str]], observation: Observation, num_done: int
    ) -> list[str]:
        """The lines of the latest turns, of `num_done`, before the present `observation`."""
        afters = [*(before for before, _ in history[1:]), observation]
        turns = zip(history, afters, strict=False)
        return [
            self.line(number, before, action, after)
            for number, ((before, action), after) in enumerate(turns, num_done - len(history) + 1)
        ]

    def answer(self, action: str) -> str:
        """An answer of the published form, with the shortest of reasons."""
        return f"<think>The next step is: {action}.</think>\n{_START}{action}{_END}"


class FileFrame(FullFrame):
    """The frame of prompts out of a prompt file, which puts values where the templates have fields.

    As published: the first template at the first turn and wherever no turn is repeated, else the later one.
    """

    most_characters = 0
    """Of a prompt with history; a longer one is made of the first template. 0: any number."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    @abstractmethod
    def values(self, first: Observation, observation: Observation) -> Mapping[str, str]:
        """The values of the fields that do not depend on the history."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The first template."""
        return self.window(first, (), first, 0)

    def window(
        self,
        first: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        num_done: int,
    ) -> tuple[Message, ...]:
        """The template of the turn, filled in."""
        values = self.values(first, observation)
        text = self._templates.first.fill(values)
        if history:
            past = "\n".join(self.lines(history, observation, num_done))
            counts = {"step_count": num_done, "current_step": num_done + 1, "history_length": len(history)}
            told = {name: str(count) for name, count in counts.items()}
            later = self._templates.later.fill(
                {**values, **told, "action_history": past, "memory_context": past}
            )
            text = text if 0 < self.most_characters < len(later) else later
        return (Message("user", text),)


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

    Difference from the published code: `<think>` may be missing where the thought is closed before the
    action, because some chat templates open it in the prompt; there, all turns of such a model are invalid.

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
