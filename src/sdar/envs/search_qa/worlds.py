"""Generated worlds: entities, facts about them, passages that state these, and questions over several facts.

Every world has facts of its own, so nothing can be learnt by heart: who wants to answer has to search. A
small world draws its names from closed lists and has a passage for each fact; a large one makes up its names
and has a passage for each entity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, TypeVar

from sdar.envs.search_qa.names import BOOK, CLOSED, COMPANY, COUNTRY, PERSON, TOWN, name
from sdar.envs.search_qa.questions import Question
from sdar.envs.search_qa.retrieval import Passage

T = TypeVar("T")

LOOKUP, BRIDGE, CHAIN, COMPARE = KINDS = ("lookup", "bridge", "chain", "compare")
"""One fact; two facts, the second about what the first names; three; whether two things have a fact in
common."""

RELATIONS: dict[str, dict[str, str]] = {
    PERSON: {"birthplace": TOWN, "employer": COMPANY, "teacher": PERSON, "spouse": PERSON, "home": TOWN},
    TOWN: {"country": COUNTRY, "mayor": PERSON, "rival": TOWN, "patron": PERSON},
    COUNTRY: {"capital": TOWN, "ruler": PERSON, "ally": COUNTRY, "port": TOWN},
    COMPANY: {"founder": PERSON, "seat": TOWN, "partner": COMPANY, "chairman": PERSON},
    BOOK: {"author": PERSON, "setting": TOWN, "hero": PERSON, "publisher": COMPANY},
}
"""Type of entity -> what can be said of it -> type of what that names."""

SMALL = {PERSON: 12, TOWN: 6, COUNTRY: 4, COMPANY: 5, BOOK: 6}
LARGE = {PERSON: 400, TOWN: 120, COUNTRY: 30, COMPANY: 120, BOOK: 200}


class Fact(NamedTuple):
    """The `relation` of `subject` is `value`; `stated` is the sentence of the passage."""

    subject: str
    relation: str
    value: str
    stated: str


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A question and the facts that answer it, in the order in which they have to be found."""

    question: Question
    facts: tuple[Fact, ...]


class World:
    """Entities and facts that follow from a seed. `counts` says how many entities there are of each type."""

    def __init__(self, seed: str, counts: dict[str, int], *, closed: bool) -> None:
        draw = Random(seed).random
        self._closed = closed
        self.names = {kind: _names(kind, count, closed, draw()) for kind, count in counts.items()}
        self._type = {entity: kind for kind, entities in self.names.items() for entity in entities}
        self.facts: dict[tuple[str, str], Fact] = {}
        for kind, entities in self.names.items():
            for subject in entities:
                for relation, target in RELATIONS[kind].items():
                    value = _pick(self.names[target], draw())
                    while value == subject:
                        value = _pick(self.names[target], draw())
                    stated = _sentence(subject, relation, value, draw())
                    self.facts[subject, relation] = Fact(subject, relation, value, stated)

    def passages(self) -> Iterator[Passage]:
        """A passage for each fact in a small world, for each entity in a large one."""
        for number, (title, text) in enumerate(self._texts()):
            yield Passage(str(number), f'"{title}"\n{text}')

    def puzzle(self, id: str, kind: str, seed: str) -> Puzzle:
        """A question of a kind."""
        draw = Random(seed)
        facts = self._pair(draw) if kind == COMPARE else self._walk(1 + KINDS.index(kind), draw)
        if kind == COMPARE:
            one, two = facts
            text = f"Do {one.subject} and {two.subject} have the same {one.relation}?"
            answer = "yes" if one.value == two.value else "no"
        else:
            asked = " of the ".join(fact.relation for fact in reversed(facts))
            text, answer = f"What is the {asked} of {facts[0].subject}?", facts[-1].value
        return Puzzle(Question(id, kind, text, (answer,)), facts)

    def _texts(self) -> Iterator[tuple[str, str]]:
        for kind, entities in self.names.items():
            for subject in entities:
                stated = [self.facts[subject, relation].stated for relation in RELATIONS[kind]]
                for text in stated if self._closed else [" ".join(stated)]:
                    yield subject, text

    def _walk(self, length: int, draw: Random) -> tuple[Fact, ...]:
        """Facts that lead from one entity to the next and meet none twice."""
        while True:
            at = _pick([name for names in self.names.values() for name in names], draw.random())
            met, facts = {at}, []
            for _ in range(length):
                facts.append(self.facts[at, _pick(tuple(RELATIONS[self._type[at]]), draw.random())])
                at = facts[-1].value
                met.add(at)
            if len(met) == length + 1:
                return tuple(facts)

    def _pair(self, draw: Random) -> tuple[Fact, ...]:
        """The same relation of two entities, which half the time names the same thing."""
        same = draw.random() < 0.5
        while True:
            kind = _pick(tuple(self.names), draw.random())
            relation = _pick(tuple(RELATIONS[kind]), draw.random())
            one, two = (self.facts[_pick(self.names[kind], draw.random()), relation] for _ in range(2))
            if one.subject != two.subject and (one.value == two.value) == same:
                return one, two


def _names(kind: str, count: int, closed: bool, chance: float) -> tuple[str, ...]:
    """Different names: drawn from the closed list, or made up from a place onward that chance decides."""
    if not closed:
        first = int(chance * 1_000)
        return tuple(name(kind, first + number) for number in range(count))
    pool, draw = list(CLOSED[kind]), Random(repr(chance)).random
    return tuple(pool.pop(int(draw() * len(pool))) for _ in range(count))


def _pick(items: Sequence[T], chance: float) -> T:
    """One of the items; `Random.random` is the one method whose sequence Python guarantees."""
    return items[int(chance * len(items))]


def _sentence(subject: str, relation: str, value: str, chance: float) -> str:
    if chance < 0.5:
        return f"The {relation} of {subject} is {value}."
    return f"{value} is the {relation} of {subject}."
