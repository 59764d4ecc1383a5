"""Which skills of a bank a task gets. A rule is a pure function: the same task and seed give the same skills.

Rules look at the task, never at the page an environment shows, so what is retrieved holds for the episode.
"""

import hashlib
import re
from collections.abc import Callable, Sequence

from sdar.errors import ConfigError, suggest
from sdar.registry import Registry
from sdar.skills.bank import Skill, SkillBank
from sdar.types import Task

Rule = Callable[[SkillBank, Task, str, int], tuple[Skill, ...]]
"""(bank, task, task sentence, seed) -> skills, in the order in which they are read."""

retrievals: Registry[Rule] = Registry("retrieval rule")


@retrievals.register("by-kind")
def by_kind(bank: SkillBank, task: Task, goal: str, seed: int) -> tuple[Skill, ...]:
    """General skills and those of the task's kind. A kind without skills raises `ConfigError`."""
    of_kind = bank.of_kind(task.kind)
    if not of_kind:
        near = suggest(task.kind, bank.kinds)
        raise ConfigError(f"skill bank '{bank.name}' has no skill for task kind '{task.kind}': {near}")
    return bank.general + of_kind


@retrievals.register("all")
def everything(bank: SkillBank, task: Task, goal: str, seed: int) -> tuple[Skill, ...]:
    """The whole bank."""
    return bank.skills


@retrievals.register("none")
def nothing(bank: SkillBank, task: Task, goal: str, seed: int) -> tuple[Skill, ...]:
    """No skills: the teacher sees what the student sees."""
    return ()


@retrievals.register("keyword")
def keyword(bank: SkillBank, task: Task, goal: str, seed: int) -> tuple[Skill, ...]:
    """General skills and those with a keyword in the task sentence, as whole words.

    Where no keyword occurs, the skills that have a kind but no keywords stand in.
    """
    special = [skill for skill in bank.skills if not skill.is_general]
    matching = [skill for skill in special if any(_occurs(word, goal) for word in skill.keywords)]
    return bank.general + tuple(matching or [skill for skill in special if not skill.keywords])


@retrievals.register("random")
def random_kind(bank: SkillBank, task: Task, goal: str, seed: int) -> tuple[Skill, ...]:
    """General skills and those of a kind drawn for the task: the quality control of the paper's ablation."""
    return bank.general + bank.of_kind(draw(bank.kinds, "random", seed, task.id))


def draw(choices: Sequence[str], *key: object) -> str:
    """One of `choices`, decided by `key` alone. Raises `ConfigError` when there is nothing to draw from."""
    if not choices:
        raise ConfigError("the skill bank has no task kind to draw from")
    return choices[int(uniform(*key) * len(choices))]


def uniform(*key: object) -> float:
    """A number in [0, 1) decided by `key` alone, the same on every machine.

    >>> uniform("a", 1) == uniform("a", 1) != uniform("a", 2)
    True
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _occurs(word: str, sentence: str) -> bool:
    """Whether `word` (or phrase) stands in `sentence` on word boundaries, in any case."""
    pattern = r"\s+".join(re.escape(part) for part in word.split())
    return re.search(rf"(?<!\w){pattern}(?!\w)", sentence, re.IGNORECASE) is not None
