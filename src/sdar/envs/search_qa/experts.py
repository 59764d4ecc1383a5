"""Scripted players for generated questions, who know which facts have to be found but not what these say.

They take a fact for known only once a passage that states it has been shown. So what they demonstrate can be
learnt: ask for the next fact, read it, go on from what it names.
"""

from collections.abc import Iterator
from random import Random

from sdar.envs.search_qa.prompts import ANSWER, SEARCH, squeeze
from sdar.envs.search_qa.worlds import COMPARE, Fact, Puzzle, World
from sdar.types import Observation


class Solver:
    """Goes from fact to fact. A careful one asks for a thing and a relation; a hasty one often for a thing.

    With probability `noise` it errs: it asks for something else, or answers with what it has so far.
    """

    def __init__(
        self, world: World, puzzle: Puzzle, seed: str, *, max_turns: int, careful: bool, noise: float = 0.0
    ) -> None:
        self._world, self._puzzle, self._careful, self._noise = world, puzzle, careful, noise
        self._draw = Random(seed).random
        self._turns_left = max_turns
        self._seen = ""

    def act(self, observation: Observation) -> str:
        """The action to take now."""
        self._seen += f" ; {squeeze(observation.text)}"
        self._turns_left -= 1
        missing = next(self._missing(), None)
        if missing is None:
            return f"{ANSWER} {self._puzzle.question.answers[0].lower()}"
        if self._turns_left <= 0:
            return self._guess(missing)
        if self._draw() < self._noise:
            return self._blunder(missing)
        if not self._careful and self._draw() < 0.5:
            return f"{SEARCH} {missing.subject.lower()}"
        return _ask(missing.subject, missing.relation)

    def _missing(self) -> Iterator[Fact]:
        return (fact for fact in self._puzzle.facts if squeeze(fact.stated) not in self._seen)

    def _guess(self, missing: Fact) -> str:
        """An answer without knowing: yes or no, or the thing that is known last."""
        if self._puzzle.question.kind == COMPARE:
            return f"{ANSWER} {'yes' if self._draw() < 0.5 else 'no'}"
        return f"{ANSWER} {missing.subject.lower()}"

    def _blunder(self, missing: Fact) -> str:
        """A guess, another relation, another thing, or something from elsewhere: a quarter each."""
        chance = self._draw()
        if chance < 0.25:
            return self._guess(missing)
        other = self._any_fact()
        subject = missing.subject if chance < 0.5 else other.subject
        relation = missing.relation if 0.5 <= chance < 0.75 else other.relation
        return _ask(subject, relation)

    def _any_fact(self) -> Fact:
        facts = list(self._world.facts.values())
        return facts[int(self._draw() * len(facts))]


class Guesser:
    """Asks for anything, and answers with anything."""

    def __init__(self, world: World, seed: str, max_turns: int) -> None:
        self._facts = list(world.facts.values())
        self._draw = Random(seed).random
        self._turns_left = max_turns

    def act(self, observation: Observation) -> str:
        """The action to take now."""
        self._turns_left -= 1
        fact = self._facts[int(self._draw() * len(self._facts))]
        if self._turns_left <= 0 or self._draw() < 0.25:
            return f"{ANSWER} {fact.value.lower()}"
        return _ask(fact.subject, fact.relation)


def _ask(subject: str, relation: str) -> str:
    return f"{SEARCH} {subject.lower()} {relation}"
