"""Scripted players: one knows where everything is, one has to look for it, one plays at random.

They read nothing but observations (and the admissible commands that come with them), so they play on either
engine and under both rule releases, and can advise on episodes that somebody else plays, as long as they are
asked at every turn.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sdar.envs.alfworld.layouts import APPLIANCE, OPENABLE, find_weights, likely_places
from sdar.envs.dice import Dice
from sdar.errors import DataError
from sdar.types import Observation

_OPENABLE = frozenset(name.lower() for name in OPENABLE)
_GOALS = [
    re.compile(pattern)
    for pattern in (
        r"(?:look at|examine the) (?P<thing>\w+) (?:under|with) the (?P<lamp>\w+)",
        r"(?P<treatment>clean|heat|cool) some (?P<thing>\w+) and put it in (?P<place>\w+)",
        r"put a (?P<treatment>clean|hot|cool) (?P<thing>\w+) in (?P<place>\w+)",
        r"(?:put|find) (?P<two>two) (?P<thing>\w+) (?:and put them )?in (?P<place>\w+)",
        r"put (?:a|some) (?P<thing>\w+) (?:in|on) (?P<place>\w+)",
    )
]
_NAME = re.compile(r"[a-z]+ \d+")
_CONTENTS = re.compile(r"(?:On the (\w+ \d+)|The (\w+ \d+) is open\. In it), you see ([^.]*)\.")
_PICKED = re.compile(r"You pick up the (\w+ \d+) from the (\w+ \d+)\.")
_PLACED = re.compile(r"You (?:put|move) the (\w+ \d+) (?:in/on|to) the (\w+ \d+)\.")
_CLOSED = re.compile(r"You close the (\w+ \d+)\.")
_TREATED = re.compile(r"You (clean|heat|cool) the (\w+ \d+) using")


@dataclass(frozen=True, slots=True)
class Goal:
    """A task sentence, understood. Names are lower-case types; a lamp goal has no place.

    >>> Goal.parse("heat some egg and put it in diningtable")
    Goal(thing='egg', place='diningtable', lamp='', treatment='heat', count=1)
    """

    thing: str
    place: str = ""
    lamp: str = ""
    treatment: str = ""
    count: int = 1

    @classmethod
    def parse(cls, sentence: str) -> "Goal":
        """Read one of the official templates; anything else raises `DataError`."""
        for pattern in _GOALS:
            match = pattern.search(sentence)
            if match:
                found = match.groupdict()
                treatment = found.get("treatment", "").replace("hot", "heat")
                count = 2 if found.get("two") else 1
                return cls(found["thing"], found.get("place", ""), found.get("lamp", ""), treatment, count)
        raise DataError(f"experts cannot read the goal '{sentence}': it has none of the official forms")


def _natural(name: str) -> tuple[str, int]:
    kind, number = name.split(" ")
    return kind, int(number)


def type_of(name: str) -> str:
    """The type in a name: `egg 2` is an `egg`."""
    return name.split(" ")[0]


@dataclass(slots=True)
class Belief:
    """What the observations so far imply; `contents` holds the receptacles that were seen inside."""

    receptacles: list[str] = field(default_factory=list)
    contents: dict[str, set[str]] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    held: str = ""
    origin: str = ""
    treated: dict[str, set[str]] = field(default_factory=dict)

    def update(self, text: str) -> None:
        """Take in one observation."""
        if "Looking quickly around you" in text and not self.receptacles:
            shown = text.split("Looking quickly around you, you see ")[1].split(".")[0]
            self.receptacles = sorted(_NAME.findall(shown), key=_natural)
        for on, inside, shown in _CONTENTS.findall(text):
            self.contents[on or inside] = set(_NAME.findall(shown))
            self.opened.update({inside} - {""})
        if match := _CLOSED.match(text):
            self.opened.discard(match[1])
        if match := _PICKED.match(text):
            self.held, self.origin = match[1], match[2]
            self.contents.get(self.origin, set()).discard(self.held)
        if match := _PLACED.match(text):
            self.held = ""
            self.contents.setdefault(match[2], set()).add(match[1])
        if match := _TREATED.match(text):
            done = self.treated.setdefault(match[2], set())
            done.add(match[1])
            done -= {"heat": {"cool"}, "cool": {"heat"}}.get(match[1], set())

    def where(self, kind: str) -> list[tuple[str, str]]:
        """Known (object, receptacle) pairs of an object type."""
        pairs = ((item, spot) for spot, items in self.contents.items() for item in items)
        return sorted(pair for pair in pairs if type_of(pair[0]) == kind)


class Seeker:
    """Looks for what the goal needs, then does the rest by the shortest way.

    `contents` is what it knows at the start: nothing for the explorer, everything for the planner. `order` is
    how it searches: `likely` places first (by the chance of a find, per step it costs), or `random`. With
    probability `noise` it gives a random or a plausible but wrong command instead.
    """

    def __init__(
        self,
        goal: str,
        seed: str,
        *,
        noise: float = 0.0,
        order: str = "likely",
        contents: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.goal = Goal.parse(goal)
        self.noise, self.order = noise, order
        self.belief = Belief(contents={spot: set(items) for spot, items in (contents or {}).items()})
        self._dice = Dice(seed)
        self._refused: set[tuple[str, str]] = set()
        self._ranks: dict[str, float] = {}

    def act(self, observation: Observation) -> str:
        """The command to give now."""
        self.belief.update(observation.text)
        if not self._ranks:
            spots = self.belief.receptacles
            self._ranks = {spot: rank for rank, spot in enumerate(self._dice.some(spots, len(spots)))}
        if self._dice.chance(self.noise):
            return blunder(self.belief, observation, self._dice)
        return self._next(frozenset(observation.admissible)) or "look"

    def _next(self, admissible: frozenset[str]) -> str:
        held, goal = self.belief.held, self.goal
        if held and type_of(held) != goal.thing:
            return self._place([self.belief.origin, *self._ranked(type_of(held))], admissible)
        if held and goal.lamp:
            return self._light(admissible)
        if held:
            if goal.treatment and goal.treatment not in self.belief.treated.get(held, ()):
                return self._treat(admissible)
            return self._place(self._destinations(admissible), admissible)
        target = self._target(admissible)
        if target:
            item, spot = target
            return self._reach(spot, admissible) or f"take {item} from {spot}"
        return self._search(goal.thing, admissible)

    def _target(self, admissible: frozenset[str]) -> tuple[str, str] | None:
        """The known object that is cheapest to fetch; for two objects, not the one already delivered."""
        known = self.belief.where(self.goal.thing)
        if self.goal.count > 1:
            delivered = self.belief.contents.get(self._destinations(admissible)[0], ())
            known = [(item, spot) for item, spot in known if item not in delivered]
        treatment, treated = self.goal.treatment, self.belief.treated

        def cost(pair: tuple[str, str]) -> tuple[bool, int]:
            return treatment not in treated.get(pair[0], ()), self._cost(pair[1], admissible)

        return min(known, key=cost, default=None)

    def _cost(self, spot: str, admissible: frozenset[str]) -> int:
        """Commands needed before things can be taken from or put into a receptacle."""
        closed = type_of(spot) in _OPENABLE and spot not in self.belief.opened
        return (f"examine {spot}" not in admissible) + closed

    def _destinations(self, admissible: frozenset[str]) -> list[str]:
        """Receptacles that the goal accepts, best first: with such an object already, or cheap to reach."""
        spots = [spot for spot in self.belief.receptacles if type_of(spot) == self.goal.place]
        if self.goal.count == 1:
            return sorted(spots, key=lambda spot: self._cost(spot, admissible))
        holding = [spot for _, spot in self.belief.where(self.goal.thing)]
        return sorted(spots, key=lambda spot: -holding.count(spot))

    def _reach(self, spot: str, admissible: frozenset[str]) -> str:
        """The next command towards having a receptacle in front and open; empty when it is."""
        if f"examine {spot}" not in admissible:
            return f"go to {spot}"
        return f"open {spot}" if f"open {spot}" in admissible else ""

    def _treat(self, admissible: frozenset[str]) -> str:
        held, treatment = self.belief.held, self.goal.treatment
        kind = APPLIANCE[treatment].lower()
        spots = [spot for spot in self.belief.receptacles if type_of(spot) == kind]
        spot = min(spots, key=lambda spot: f"examine {spot}" not in admissible)
        command = f"{treatment} {held} with {spot}"
        return command if command in admissible else f"go to {spot}"

    def _light(self, admissible: frozenset[str]) -> str:
        lamps = self.belief.where(self.goal.lamp)
        if not lamps:
            return self._search(self.goal.lamp, admissible)
        lamp, spot = lamps[0]
        return f"use {lamp}" if f"examine {spot}" in admissible else f"go to {spot}"

    def _place(self, spots: Iterable[str], admissible: frozenset[str]) -> str:
        """Put the held object into the first of these receptacles that takes it."""
        held = self.belief.held
        for spot in spots:
            if (held, spot) in self._refused:
                continue
            if command := self._reach(spot, admissible):
                return command
            for command in (f"move {held} to {spot}", f"put {held} in/on {spot}"):
                if command in admissible:
                    return command
            self._refused.add((held, spot))
        return ""

    def _search(self, kind: str, admissible: frozenset[str]) -> str:
        unseen = [spot for spot in self._ranked(kind) if spot not in self.belief.contents]
        return (self._reach(unseen[0], admissible) or f"examine {unseen[0]}") if unseen else ""

    def _ranked(self, kind: str) -> list[str]:
        """All receptacles in the order in which to look for an object type."""
        spots = self.belief.receptacles
        if self.order == "random":
            return sorted(spots, key=self._ranks.__getitem__)
        weights, likely = find_weights().get(kind, {}), likely_places(kind)
        # In a plain placing task an object in such a place would have won the game before it began.
        pointless = self.goal.place if self.goal.count == 1 and not self.goal.treatment else ""
        kinds = [type_of(spot) for spot in spots]

        def worth(spot: str) -> float:
            kind = type_of(spot)
            cost = 1 + (kind in _OPENABLE and spot not in self.belief.opened)
            chance = (kind != pointless) * weights.get(kind, 0.5) * (1 + (kind in likely)) / kinds.count(kind)
            return chance / cost

        return sorted(spots, key=lambda spot: -worth(spot))


class Wanderer:
    """Gives a random admissible command every time."""

    def __init__(self, seed: str) -> None:
        self._dice = Dice(seed)

    def act(self, observation: Observation) -> str:
        """The command to give now."""
        return self._dice.choice(useful(observation.admissible))


def useful(admissible: Iterable[str]) -> tuple[str, ...]:
    """The admissible commands without `help`."""
    return tuple(command for command in admissible if command != "help")


def blunder(belief: Belief, observation: Observation, dice: Dice) -> str:
    """A mistake: half the time any admissible command, else one that sounds right and may be impossible."""
    known = [item for items in belief.contents.values() for item in sorted(items)]
    if dice.chance(0.5) or not known or not belief.receptacles:
        return dice.choice(useful(observation.admissible))
    spot, item = dice.choice(belief.receptacles), belief.held or dice.choice(known)
    verb = dice.choice(("go", "go", "open", "take", "clean", "heat", "cool"))
    return {"go": f"go to {spot}", "open": f"open {spot}", "take": f"take {item} from {spot}"}.get(
        verb, f"{verb} {item} with {spot}"
    )
