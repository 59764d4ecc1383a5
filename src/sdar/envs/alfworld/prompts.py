"""How ALFWorld speaks to a model, and how a command is read out of what the model writes.

Two prompt sets. `FullPrompts` is for pretrained models: the structure of the published prompts (task, step
count, last k observation/action pairs, admissible commands; reasoning in `<think>`, command in `<action>`) in
words of our own. `CompactPrompts` is for the embedded model: as few tokens as possible, and the answer is the
command.
"""

import re
from collections.abc import Callable, Collection, Sequence

from sdar.envs.alfworld.text import TASK, WELCOME
from sdar.types import Message, Observation

Parser = Callable[[str, Collection[str]], tuple[str, bool]]
"""(the policy's text, admissible commands) -> (the command to give, whether the text has the right form)."""

_ASK = (
    "Think first: reason about what to do next inside <think> </think>. "
    "Then choose one of the possible commands and write it inside <action> </action>."
)
_ROLE = "You are a skilled household robot. You act in a text world, one command at a time."
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_LAST = 30
_LISTING = re.compile(r"You are in the middle of a room\. Looking quickly around you, you see ")
_FILLER = re.compile(r"\b(?:an?|the|you|and|it|is|are|see)\b|[,.]", re.IGNORECASE)
_SAID_TWICE = re.compile(r"^You (?:arrive at [a-z]+ \d+|open the [a-z]+ \d+)\. ")


class FullPrompts:
    """Prompts for pretrained chat models."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The role, the first observation with the task in it, and what is possible."""
        return (Message("user", f"{_ROLE}\n\n{first.text}\n\n{_possible(first)}\n\n{_ASK}"),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """What happened and what is possible now."""
        return (Message("user", f"{observation.text}\n\n{_possible(observation)}"),)

    def window(
        self,
        first: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        num_done: int,
    ) -> tuple[Message, ...]:
        """The opening at the first turn; later the task, the last turns, and the present one."""
        if not num_done:
            return self.opening(first)
        start = num_done - len(history) + 1
        lines = [
            f"[Observation {start + i}: '{seen.text}', Action {start + i}: '{action}']"
            for i, (seen, action) in enumerate(history)
        ]
        parts = (
            f"{_ROLE} Your task is to: {first.goal}",
            "\n".join([f"So far you have taken {num_done} step(s). The latest {len(history)}:", *lines]),
            f"This is step {num_done + 1}. You observe: {observation.text}",
            _possible(observation),
            _ASK,
        )
        return (Message("user", "\n\n".join(parts)),)

    def answer(self, action: str) -> str:
        """An answer of the required form, with the shortest of reasons."""
        return f"<think>The next step is: {action}.</think>\n<action>{action}</action>"


class CompactPrompts:
    """Prompts for the embedded model: no instructions, no admissible commands, nothing that is said twice."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The room and the task."""
        return (Message("user", squeeze(first.text)),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """What happened."""
        return (Message("user", squeeze(observation.text)),)

    def window(
        self,
        first: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        num_done: int,
    ) -> tuple[Message, ...]:
        """The room and the task, then the last turns and the present one, a line each."""
        if not num_done:
            return self.opening(first)
        lines = [squeeze(first.text)]
        for seen, action in history:
            lines += [action] if seen is first else [squeeze(seen.text), action]
        return (Message("user", "\n".join([*lines, squeeze(observation.text)])),)

    def answer(self, action: str) -> str:
        """The bare command."""
        return action


def squeeze(text: str) -> str:
    """An observation without the banner, without what its rest repeats, and without articles and the like.

    >>> squeeze("You arrive at desk 1. On the desk 1, you see a mug 1, and a pen 2.")
    'On desk 1 mug 1 pen 2'
    """
    text = _LISTING.sub("", text.replace(WELCOME, "").strip()).replace("\n\n", "\n")
    words = _FILLER.sub(" ", _SAID_TWICE.sub("", text))
    return "\n".join(" ".join(line.split()) for line in words.splitlines())


def parse_published(text: str, admissible: Collection[str] = ()) -> tuple[str, bool]:
    """The published rule: lower-case, between the first `<action>` and the first `</action>`.

    Without such a pair the last 30 characters are sent and the text is invalid. It is also invalid without
    `<think>` and `</think>`, or with any Chinese character. The command need not be admissible.

    >>> parse_published("<think>where?</think><action> Go to desk 1 </action>")
    ('go to desk 1', True)
    """
    lowered = text.lower()
    start = lowered.find("<action>")
    end = lowered.find("</action>")
    if start < 0 or end < 0:
        return lowered[-_LAST:].strip(), False
    formed = "<think>" in text and "</think>" in text and not _CHINESE.search(text)
    return lowered[start + len("<action>") : end].strip(), formed


def parse_strict(text: str, admissible: Collection[str]) -> tuple[str, bool]:
    """The published rule, and the command must be admissible."""
    action, formed = parse_published(text)
    return action, formed and action in admissible


def parse_bare(text: str, admissible: Collection[str]) -> tuple[str, bool]:
    """The whole text is the command; it must be admissible."""
    action = text.strip()
    return action, action in admissible


def _possible(observation: Observation) -> str:
    commands = [f" '{command}'" for command in observation.admissible if command != "help"]
    return "Possible commands now: [\n" + ",\n".join(commands) + "\n]"


def goal_in(text: str) -> str:
    """The task sentence in a first observation; empty where there is none."""
    return text.partition(TASK)[2].strip().removesuffix(".")
