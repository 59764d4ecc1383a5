"""Which skills of a bank a task gets.

A rule is one frozen dataclass: its fields are its settings, and `select` is a pure function of a `Query`, so
what is retrieved is the same on every rank. All but the rules of the published code look at the task alone,
never at the page that an environment shows, so that what they retrieve holds for the whole episode.
"""

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sdar.errors import ConfigError, suggest
from sdar.settings.registry import Registry
from sdar.skills.bank import Skill, SkillBank
from sdar.types import Task


@dataclass(slots=True)
class Returns:
    """What a run has observed of its skills: how the episodes went whose teacher or student saw them.

    >>> seen = Returns()
    >>> seen.observe("heat", ["heat"], 10.0)
    >>> seen.of_kind("heat")
    {'heat': (1, 10.0)}
    """

    kinds: dict[str, dict[str, tuple[int, float]]] = field(default_factory=dict)
    """Task kind -> skill -> number of episodes and sum of their returns."""
    low: float = 0.0
    """Smallest return so far, at most 0."""
    high: float = 0.0
    """Largest return so far, at least 0."""

    def observe(self, kind: str, skills: Iterable[str], value: float) -> None:
        """Count an episode of a task of `kind` that returned `value` and saw the named skills."""
        seen = self.kinds.setdefault(kind, {})
        for name in skills:
            episodes, total = seen.get(name, (0, 0.0))
            seen[name] = (episodes + 1, total + value)
        self.low, self.high = min(self.low, value), max(self.high, value)

    def of_kind(self, kind: str) -> Mapping[str, tuple[int, float]]:
        """Skill -> number of episodes and sum of returns, over tasks of `kind`."""
        return self.kinds.get(kind, {})

    def state(self) -> dict[str, Any]:
        """Everything, as plain JSON; `load` takes it back."""
        return asdict(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Forget what was observed and go on from `state`; an empty one is the beginning."""
        self.low, self.high = state.get("low", 0.0), state.get("high", 0.0)
        self.kinds = {
            kind: {name: (episodes, total) for name, (episodes, total) in seen.items()}
            for kind, seen in state.get("kinds", {}).items()
        }


@dataclass(frozen=True, slots=True)
class Query:
    """All that a rule may look at."""

    bank: SkillBank
    task: Task
    goal: str
    """The task sentence."""
    seed: int = 0
    """The run's."""
    returns: Returns = field(default_factory=Returns)
    """What was observed before the current step."""
    prompt: str = ""
    """What the student reads now, without skills; only the published rules look at it."""


@dataclass(frozen=True, kw_only=True)
class Retrieval(ABC):
    """A rule and its settings. Subclasses add fields, register themselves and fill in `select`."""

    @abstractmethod
    def select(self, query: Query) -> tuple[Skill, ...]:
        """The skills for the task, in the order in which they are read."""

    def check(self, bank: SkillBank, kinds: Collection[str]) -> None:
        """Raise `ConfigError` for what cannot work with `bank` and tasks of `kinds`; loads nothing heavy."""
        return


retrievals: Registry[type[Retrieval]] = Registry("retrieval rule")


@retrievals.register("by-kind")
@dataclass(frozen=True, kw_only=True)
class ByKind(Retrieval):
    """General skills and those of the task's kind. A kind without skills is an error.

    Source: the published code of arXiv 2605.15155 for ALFWorld; its WebShop is `keyword-published`, its
    Search-QA `by-source`.
    """

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        self.check(query.bank, [query.task.kind])
        return query.bank.general + query.bank.of_kind(query.task.kind)

    def check(self, bank: SkillBank, kinds: Collection[str]) -> None:
        """Every kind needs a skill."""
        for kind in sorted(kinds):
            if not bank.of_kind(kind):
                near = suggest(kind, bank.kinds, "add a file with this `kind`")
                raise ConfigError(f"skill bank '{bank.name}' has no skill for task kind '{kind}': {near}")


@retrievals.register("all")
@dataclass(frozen=True, kw_only=True)
class Everything(Retrieval):
    """The whole bank. Source: arXiv 2605.15155."""

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        return query.bank.skills


@retrievals.register("none")
@dataclass(frozen=True, kw_only=True)
class Nothing(Retrieval):
    """No skills: the teacher sees what the student sees."""

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        return ()


@retrievals.register("keyword")
@dataclass(frozen=True, kw_only=True)
class Keyword(Retrieval):
    """General skills and those with a keyword in the task sentence, as whole words.

    Where no keyword occurs, the skills that have a kind but no keywords stand in.
    Source: the keyword matching of arXiv 2605.15155, whose code also matches inside words.
    """

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        special = query.bank.special
        matching = [skill for skill in special if any(_occurs(word, query.goal) for word in skill.keywords)]
        return query.bank.general + tuple(matching or [skill for skill in special if not skill.keywords])


@retrievals.register("keyword-published")
@dataclass(frozen=True, kw_only=True)
class KeywordPublished(Retrieval):
    """General skills and all with a keyword anywhere in the present prompt, inside words too.

    So pages and history count, and the skills may change from turn to turn. A skill without keywords is
    never found. Source: the published code of arXiv 2605.15155 for WebShop, and for its Skill-GRPO.
    """

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        prompt = query.prompt.lower()
        found = (skill for skill in query.bank.special if any(word in prompt for word in skill.keywords))
        return query.bank.general + tuple(found)


_SOURCES = {
    "popqa": "entity_attribute_lookup",
    "nq": "direct_retrieval",
    "triviaqa": "direct_retrieval",
    "hotpotqa": "multi_hop_reasoning",
    "2wikimultihopqa": "multi_hop_reasoning",
    "musique": "multi_hop_reasoning",
    "bamboogle": "multi_hop_reasoning",
}
_COMPARED = ("2wikimultihopqa", "musique", "bamboogle")


@retrievals.register("by-source")
@dataclass(frozen=True, kw_only=True)
class BySource(Retrieval):
    """General skills and the kind of skill that the question's data set stands for.

    Of other sets than NQ, TriviaQA, PopQA and HotpotQA a prompt with "which" and "or" and without "for" gets
    `compare`; the published prompts always have "for". Unknown sets get the general skills alone.
    Source: the published code of arXiv 2605.15155 for Search-QA.
    """

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        kind, prompt = _SOURCES.get(query.task.kind, ""), query.prompt.lower()
        open_to_compare = not kind or query.task.kind in _COMPARED
        if open_to_compare and "which" in prompt and "or" in prompt and "for" not in prompt:
            kind = "compare"
        return query.bank.general + (query.bank.of_kind(kind) if kind else ())

    def check(self, bank: SkillBank, kinds: Collection[str]) -> None:
        """Every kind that the data sets stand for needs a skill."""
        for kind in sorted({_SOURCES[kind] for kind in kinds if kind in _SOURCES}):
            if not bank.of_kind(kind):
                near = suggest(kind, bank.kinds, "add a file with this `kind`")
                raise ConfigError(f"skill bank '{bank.name}' has no skill of kind '{kind}': {near}")


class NeedsKinds(Retrieval):
    """A rule that picks among the skills that have a kind."""

    def check(self, bank: SkillBank, kinds: Collection[str]) -> None:
        """There have to be some."""
        if not bank.special:
            raise ConfigError(f"skill bank '{bank.name}' has no skill with a task kind to choose from")


@retrievals.register("random")
@dataclass(frozen=True, kw_only=True)
class RandomKind(NeedsKinds):
    """General skills and those of a kind drawn for the task. Source: the ablation of arXiv 2605.15155."""

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        drawn = draw(query.bank.kinds, "random", query.seed, query.task.id)
        return query.bank.general + query.bank.of_kind(drawn)


@retrievals.register("ucb")
@dataclass(frozen=True, kw_only=True)
class UCB(NeedsKinds):
    """General skills and the one with the largest upper confidence bound on the return seen with it.

    The bound of a skill is its mean return + c sqrt(ln N / n): n counts the episodes that saw it, N those
    that saw any. Source: the ablation of arXiv 2605.15155, which does not say the rest: here every task kind
    has statistics of its own, returns are scaled to [0, 1] by the smallest and largest so far (0 included),
    and skills that no episode has seen come first, drawn for each task.
    """

    c: float = math.sqrt(2)
    """Weight of the uncertainty; 0 always takes the best mean."""

    def __post_init__(self) -> None:
        if not self.c >= 0:
            raise ConfigError(f"skills.retrieval.c must not be negative, not {self.c}")

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        bank, returns = query.bank, query.returns
        seen = returns.of_kind(query.task.kind)
        arms = {skill.name: skill for skill in bank.special}
        fresh = [name for name in arms if name not in seen]
        if fresh:
            return (*bank.general, arms[draw(fresh, "ucb", query.seed, query.task.id)])
        log_total = math.log(sum(seen[name][0] for name in arms))
        span = (returns.high - returns.low) or 1.0

        def bound(name: str) -> float:
            episodes, total = seen[name]
            mean = (total / episodes - returns.low) / span
            return mean + self.c * math.sqrt(log_total / episodes)

        return (*bank.general, arms[max(arms, key=bound)])


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
