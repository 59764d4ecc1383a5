"""How ALFWorld speaks to a model, and how a command is read out of what the model writes.

Two prompt sets. `FullPrompts` is for pretrained models: the structure of the published prompts (task, step
count, last k observation/action pairs, admissible commands; reasoning in `<think>`, command in `<action>`) in
words of our own; `FilePrompts` has the words of a prompt file. `CompactPrompts` is for the embedded model: as
few tokens as possible, and the answer is the command.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from sdar.envs.alfworld.text import TASK, WELCOME
from sdar.envs.prompting import CompactFrame, FileFrame, FullFrame, parse_tagged
from sdar.types import Message, Observation

Parser = Callable[[str, Collection[str]], tuple[str, bool]]
"""(the policy's text, admissible commands) -> (the command to give, whether the text has the right form)."""

_ASK = (
    "Think first: reason about what to do next inside <think> </think>. "
    "Then choose one of the possible commands and write it inside <action> </action>."
)
_ROLE = "You are a skilled household robot. You act in a text world, one command at a time."
_LAST = 30
_LISTING = re.compile(r"You are in the middle of a room\. Looking quickly around you, you see ")
_FILLER = re.compile(r"\b(?:an?|the|you|and|it|is|are|see)\b|[,.]", re.IGNORECASE)
_SAID_TWICE = re.compile(r"^You (?:arrive at [a-z]+ \d+|open the [a-z]+ \d+)\. ")


class FullPrompts(FullFrame):
    """Prompts for pretrained chat models."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The role, the first observation with the task in it, and what is possible."""
        return (Message("user", f"{_ROLE}\n\n{first.text}\n\n{_possible(first)}\n\n{_ASK}"),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """What happened and what is possible now."""
        return (Message("user", f"{observation.text}\n\n{_possible(observation)}"),)

    def parts(self, first: Observation, past: str, observation: Observation, number: int) -> Sequence[str]:
        """The task, the last turns, the present one, and what is possible."""
        task = f"{_ROLE} Your task is to: {first.goal}"
        now = f"This is step {number}. You observe: {observation.text}"
        return (task, past, now, _possible(observation), _ASK)


class FilePrompts(FileFrame, FullPrompts):
    """Prompts in the words of a prompt file."""

    def values(self, first: Observation, observation: Observation) -> Mapping[str, str]:
        """The task as it stands in the first observation, the present one, and what is possible."""
        return {
            "task_description": first.text.partition(TASK)[2].strip(),
            "current_observation": observation.text,
            "admissible_actions": "\n ".join(f"'{command}'" for command in _commands(observation)),
        }


class CompactPrompts(CompactFrame):
    """Prompts for the embedded model: no instructions, no admissible commands, nothing that is said twice."""

    def opening(self, first: Observation) -> tuple[Message, ...]:
        """The room and the task."""
        return (Message("user", squeeze(first.text)),)

    def following(self, observation: Observation) -> tuple[Message, ...]:
        """What happened."""
        return (Message("user", squeeze(observation.text)),)


def squeeze(text: str) -> str:
    """An observation without the banner, without what its rest repeats, and without articles and the like.

    >>> squeeze("You arrive at desk 1. On the desk 1, you see a mug 1, and a pen 2.")
    'On desk 1 mug 1 pen 2'
    """
    text = _LISTING.sub("", text.replace(WELCOME, "").strip()).replace("\n\n", "\n")
    words = _FILLER.sub(" ", _SAID_TWICE.sub("", text))
    return "\n".join(" ".join(line.split()) for line in words.splitlines())


def parse_published(text: str, admissible: Collection[str] = ()) -> tuple[str, bool]:
    """The published rule, see `parse_tagged`; the command need not be admissible.

    >>> parse_published("<think>where?</think><action> Go to desk 1 </action>")
    ('go to desk 1', True)
    """
    return parse_tagged(text, _LAST)


def parse_strict(text: str, admissible: Collection[str]) -> tuple[str, bool]:
    """As `parse_published`, and the command must be admissible."""
    action, formed = parse_published(text)
    return action, formed and action in admissible


def parse_bare(text: str, admissible: Collection[str]) -> tuple[str, bool]:
    """The whole text is the command; it must be admissible."""
    action = text.strip()
    return action, action in admissible


def _possible(observation: Observation) -> str:
    commands = [f" '{command}'" for command in _commands(observation)]
    return "Possible commands now: [\n" + ",\n".join(commands) + "\n]"


def _commands(observation: Observation) -> list[str]:
    """What is shown of what is possible."""
    return [command for command in observation.admissible if command != "help"]


def goal_in(text: str) -> str:
    """The task sentence in a first observation; empty where there is none."""
    return text.partition(TASK)[2].strip().removesuffix(".")
