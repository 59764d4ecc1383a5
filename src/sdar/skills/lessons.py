"""What the episodes of one kind of task show: the common course of successes, and what failures lack."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sdar.skills.abstraction import Abstraction, Episode, longest_common, progress, words

LEAST = 3
"""Successes of a kind below which no plan is made of them."""
_COMMON = frozenset(
    words("a an and at by for from in into is it me of on or some that the them to under with")
)


@dataclass(frozen=True)
class Habits:
    """How a set of episodes went, as shares."""

    repeated: float
    """Of the actions: given before in the same episode."""
    invalid: float
    """Of the turns: not a valid action."""
    truncated: float
    """Of the episodes: cut before the end."""

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "Habits":
        """The shares over `episodes`; 0 where there are none."""
        turns = sum(episode.num_turns for episode in episodes)
        actions = sum(len(episode.actions) for episode in episodes)
        return cls(
            sum(episode.repeats for episode in episodes) / max(1, actions),
            (turns - actions) / max(1, turns),
            sum(episode.truncated for episode in episodes) / max(1, len(episodes)),
        )


@dataclass(frozen=True)
class Lesson:
    """What the episodes of one kind of task show."""

    kind: str
    won: Sequence[Episode]
    lost: Sequence[Episode]
    terms: Abstraction
    plan: Sequence[str]
    """Steps in general terms; empty with too few successes."""
    keywords: tuple[str, ...]

    @classmethod
    def of(cls, kind: str, episodes: Sequence[Episode]) -> "Lesson":
        """Compare the successes and failures of `kind`; the shorter half of the successes makes the plan."""
        mine = [episode for episode in episodes if episode.kind == kind]
        won = [episode for episode in mine if episode.success]
        terms = Abstraction.of(mine)
        short = sorted(won, key=lambda episode: len(episode.actions))[: max(LEAST, (len(won) + 1) // 2)]
        plan = longest_common([terms.course(episode) for episode in short]) if len(won) >= LEAST else []
        lost = [episode for episode in mine if not episode.success]
        return cls(kind, won, lost, terms, plan, _keywords(kind, episodes, terms))

    @property
    def num_tasks(self) -> int:
        """Tasks that the episodes are of."""
        return len({episode.task for episode in (*self.won, *self.lost)})

    @property
    def tried(self) -> list[str]:
        """The steps of most failures, searching left out."""
        steps = Counter(step for episode in self.lost for step in sorted(set(self.terms.course(episode))))
        return [step for step, _ in steps.most_common(3)]

    def reached(self, episodes: Sequence[Episode], number: int) -> float:
        """Share of `episodes` with the first `number` steps of the plan, in order."""
        done = sum(progress(self.plan, self.terms.steps(episode)) >= number for episode in episodes)
        return done / max(1, len(episodes))


def _keywords(kind: str, episodes: Sequence[Episode], terms: Abstraction) -> tuple[str, ...]:
    """Words of this kind's task sentences that other kinds' sentences lack, and that are no names."""
    mine = {episode.goal for episode in episodes if episode.kind == kind}
    other = {episode.goal for episode in episodes if episode.kind != kind}
    here = Counter(word for goal in mine for word in set(words(goal)))
    there = Counter(word for goal in other for word in set(words(goal)))
    frequent = {word for word, number in here.items() if number >= len(mine) / 4 and not word.isdigit()}
    telling = {word for word in frequent if there[word] <= len(other) / 50}
    return tuple(sorted(telling - terms.named - _COMMON))
