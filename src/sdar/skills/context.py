"""Puts skills into chat messages: what the teacher sees and the student does not.

This happens before the chat template, inside the first user message, so the teacher's prompt is an ordinary
conversation and nothing can be cut from its front unnoticed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated

from sdar.errors import ConfigError
from sdar.skills import junk
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.embedding import Embedding  # noqa: F401 - registers itself
from sdar.skills.retrieval import ByKind, Query, Retrieval, Returns, draw, retrievals, uniform
from sdar.types import Message, Task

HEADING = "Skills for this task:"


class Detail(StrEnum):
    """How much of a skill is shown: its whole text, or the summary written for small models."""

    FULL = "full"
    SUMMARY = "summary"


class Content(StrEnum):
    """What stands where a task's skills stand, to see what their content is worth."""

    RIGHT = "right"
    REWORDED = "reworded"
    """The right ones, in words that no demonstration shows."""
    WRONG = "wrong"
    """Those of another kind of task."""
    JUNK = "junk"
    """Text that has nothing to do with any task."""


@dataclass(frozen=True, kw_only=True)
class SkillsConfig:
    """Which skills are used and how they are shown."""

    bank: str = "alfworld"
    """A built-in bank, or a directory of skill files."""
    retrieval: Annotated[Retrieval, retrievals] = field(default_factory=ByKind)
    """Rule that picks a task's skills; `--skills.retrieval NAME` chooses."""
    detail: Detail = Detail.FULL
    """Show each skill's full text, or only its summary (small models)."""
    wrong_rate: float = 0.0
    """Share of tasks, 0 to 1, that get another kind's skills instead of their own, to study bad skills."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.wrong_rate <= 1.0:
            raise ConfigError(f"skills.wrong_rate must be between 0 and 1, not {self.wrong_rate}")


@dataclass(frozen=True, slots=True)
class SkillContext:
    """A bank, a rule and a way to show skills. Nothing in it changes but what it was told in `returns`."""

    bank: SkillBank
    rule: Retrieval
    detail: Detail = Detail.FULL
    seed: int = 0
    wrong_rate: float = 0.0
    returns: Returns = field(default_factory=Returns)
    """What was observed with each skill; whoever plays the episodes tells it, between steps."""
    content: Content = Content.RIGHT
    wording: int = -1
    """Which of its wordings a skill is shown in, or which text instead of it; -1: as in an evaluation."""

    @classmethod
    def from_config(cls, config: SkillsConfig, kinds: Collection[str] = (), seed: int = 0) -> "SkillContext":
        """Load the bank and check that the rule works with it and with tasks of `kinds`.

        So a bank that lacks a kind fails here and not in the middle of a run. Raises `ConfigError` or
        `DataError`.
        """
        bank = SkillBank.load(config.bank)
        config.retrieval.check(bank, kinds)
        if config.wrong_rate and len(bank.kinds) < 2:
            raise ConfigError(f"skills.wrong_rate needs two task kinds; '{bank.name}' has {len(bank.kinds)}")
        return cls(bank, config.retrieval, Detail(config.detail), seed, config.wrong_rate)

    def showing(self, content: Content, wording: int = -1) -> "SkillContext":
        """The same, but for what every task is shown."""
        rate = float(content is Content.WRONG)
        return replace(self, content=content, wording=wording, wrong_rate=rate)

    def contents(self, kinds: Collection[str]) -> tuple[Content, ...]:
        """What can be shown for tasks of `kinds`: held-out words and wrong skills only if there are some."""
        shown = [*self.bank.general, *(skill for kind in kinds for skill in self.bank.of_kind(kind))]
        reworded = self.detail is Detail.SUMMARY and all(skill.held_out for skill in shown)
        lacking = {Content.REWORDED: not reworded, Content.WRONG: len(self.bank.kinds) < 2}
        return tuple(content for content in Content if not lacking.get(content))

    def select(self, task: Task, goal: str, messages: Sequence[Message] = ()) -> tuple[Skill, ...]:
        """The skills of `task`, whose task sentence is `goal`; the same in every turn of a step.

        But not by the published rules, which look into the `messages` that the student reads now.
        """
        prompt = "\n".join(message.content for message in messages)
        skills = self.rule.select(Query(self.bank, task, goal, self.seed, self.returns, prompt))
        if uniform("wrong", self.seed, task.id) >= self.wrong_rate:
            return skills
        others = tuple(kind for kind in self.bank.kinds if kind != task.kind)
        swapped = self.bank.of_kind(draw(others, "swap", self.seed, task.id))
        kept = tuple(skill for skill in skills if skill.kind != task.kind)
        return kept if kept == skills else kept + tuple(skill for skill in swapped if skill not in kept)

    def note(self, task: Task, goal: str, messages: Sequence[Message]) -> str:
        """The skills of a task as text; empty without skills."""
        chosen = self.select(task, goal, messages)
        return self.section(chosen) if chosen else ""

    def shown_in(self, messages: Sequence[Message]) -> tuple[Skill, ...]:
        """The skills of the bank that stand in a prompt, as they are shown."""
        prompt = "\n".join(message.content for message in messages)
        summary = self.detail is Detail.SUMMARY
        return tuple(s for s in self.bank.skills if (s.summary if summary else s.text) in prompt)

    def apply(self, messages: Sequence[Message], skills: Sequence[Skill]) -> tuple[Message, ...]:
        """`messages` with the skills at the head of the first user message; unchanged without skills.

        Raises `ConfigError` when there is no user message.
        """
        return prepend(messages, self.section(skills)) if skills else tuple(messages)

    def section(self, skills: Sequence[Skill]) -> str:
        """The heading and the skills, or what stands instead of them, as text."""
        if self.content is Content.JUNK:
            names = [skill.name for skill in skills]
            drawn = draw(junk.HELD_OUT, "junk", *names)
            return f"{HEADING}\n{drawn if self.wording < 0 else junk.SHOWN[self.wording % len(junk.SHOWN)]}"
        if self.detail is Detail.SUMMARY:
            return "\n".join([HEADING, *map(self._say, skills)])
        return "\n\n".join([HEADING, *(skill.text for skill in skills)])

    def _say(self, skill: Skill) -> str:
        """A skill in a sentence or two."""
        if self.content is Content.REWORDED:
            return skill.held_out[0]
        return (skill.summary, *skill.wordings)[max(0, self.wording) % (1 + len(skill.wordings))]


def prepend(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """`messages` with `text` at the head of the first user message; unchanged without a text.

    Raises `ConfigError` when there is no user message.
    """
    if not text:
        return tuple(messages)
    first = next((i for i, message in enumerate(messages) if message.role == "user"), None)
    if first is None:
        raise ConfigError("skills need a user message to go into, and the prompt has none")
    changed = replace(messages[first], content=f"{text}\n\n{messages[first].content}")
    return (*messages[:first], changed, *messages[first + 1 :])
