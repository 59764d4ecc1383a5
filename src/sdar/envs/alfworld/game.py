"""A parsed ALFWorld game: everything about it that does not change while it is played."""

from dataclasses import dataclass
from typing import Any

from sdar.envs.alfworld.problem import SIGNATURES, Kind, Problem, read_problem
from sdar.envs.alfworld.text import WORDINGS, Rules, number
from sdar.errors import DataError

Numbers = frozenset[int]


class Game:
    """An immutable game, shared by all its episodes.

    Things, receptacles and locations are numbers, in the order in which the game lists them; `names` and
    `index` turn them into what the player reads ("fridge 1") and back. Types are words such as "fridge".

    Attributes:
        id: How messages call the game.
        task: The goal sentence, without "Your task is to" and without the full stop.
        rules: The release that it is played by; `wording` holds the texts that depend on it.
        target: The goal: its kind, the type of its object and the type of its receptacle or lamp.
        names: Name by number; `index`: number by name; `types`: types by number (one each in official games).
        receptacles: Those that can be visited, in listing order; `things`: what can be inside them.
        place: Location by receptacle; `stops`: receptacles by location; `start`: the first location.
        openable: Receptacles with a door; `cleaners`, `heaters`, `coolers`: those that change a thing.
        pickupable: Things that can be taken; `cleanable`, `heatable`, `coolable`, `toggleable`, `sliceable`
            read likewise; `knives`: things that slice; `holders`: things that hold others, see `inside`.
        goal_things: Things that count for the goal; `goal_places`: receptacles (LOOK: lamps) that count.
        contents: Things by receptacle before the first command; `nearby`: things by location; `opened`,
            `clean`, `hot`, `cool`, `lit` and `sliced`: what is so before the first command.
        intro, actions, standing: What the episodes have worked out: the introduction, commands that were
            understood, and the commands that depend on the location only.
    """

    def __init__(self, problem: Problem, task: str, rules: Rules = Rules.V2_1_1, id: str = "game") -> None:
        self.id, self.task, self.rules, self.target = id, task, rules, problem.goal
        self.wording = WORDINGS[rules]
        numbers = self._name(problem)

        def those(predicate: str) -> Numbers:
            return frozenset(numbers[row[0]] for row in problem.facts.get(predicate, ()))

        def groups(predicate: str) -> dict[int, tuple[int, ...]]:
            table: dict[int, set[int]] = {}
            for member, group in problem.facts.get(predicate, ()):
                table.setdefault(numbers[group], set()).add(numbers[member])
            return {group: tuple(sorted(members)) for group, members in table.items()}

        self.stops = groups("receptacleatlocation")
        self.place = {receptacle: at for at, members in self.stops.items() for receptacle in members}
        if len(self.place) != sum(map(len, self.stops.values())):
            raise DataError("a receptacle stands at two locations")
        self.receptacles = tuple(sorted(self.place))
        starts = set(problem.facts.get("atlocation", ()))
        if len(starts) != 1:
            raise DataError("its player does not start at one location")
        self.start = numbers[starts.pop()[1]]
        self.things = tuple(sorted(those("objecttype")))
        self.contents = dict.fromkeys(those("receptacletype").union(self.place), ()) | groups("inreceptacle")
        self.nearby = {at: frozenset(things) for at, things in groups("objectatlocation").items()}
        self.holders, self.inside = those("isreceptacleobject"), groups("inreceptacleobject")
        self.pickupable = those("pickupable")
        self.openable, self.opened = those("openable"), those("opened")
        self.cleanable, self.clean = those("cleanable"), those("isclean")
        self.heatable, self.hot = those("heatable"), those("ishot")
        self.coolable, self.cool = those("coolable"), those("iscool")
        self.toggleable, self.lit = those("toggleable"), those("istoggled")
        self.sliceable, self.sliced = those("sliceable"), those("issliced")
        self.cleaners, self.heaters = self.of_type(*self.wording.cleaners), self.of_type("microwave")
        self.coolers, self.knives = self.of_type("fridge"), self.of_type("knife", "butterknife")
        self.goal_things, self.goal_places = self.of_type(self.target.object), self.of_type(self.target.place)
        self.goal_places &= self.toggleable if self.target.kind is Kind.LOOK else self.contents.keys()
        self.intro = ""
        self.actions: dict[str, Any] = {}
        self.standing: dict[int, list[str]] = {}
        self._can_contain = problem.can_contain
        self._accepts: dict[int, Numbers] = {}

    @classmethod
    def parse(cls, problem: str, goal: str, rules: Rules = Rules.V2_1_1, id: str = "game") -> "Game":
        """Build a game from the text of its PDDL problem and its goal sentence ("put a mug in desk").

        Raises:
            DataError: The game uses something that the native engine does not cover, or cannot be won; the
                message names the game.
        """
        try:
            game = cls(read_problem(problem), goal, Rules(rules), id)
            if not game.solvable:
                raise DataError("no sequence of commands reaches its goal")
        except DataError as error:
            raise DataError(f"ALFWorld game {id} cannot be played: {error}") from None
        return game

    def __repr__(self) -> str:
        return f"Game({self.id!r}, {self.task!r})"

    def of_type(self, *types: str) -> Numbers:
        """Things and receptacles of one of `types`."""
        return frozenset(i for i, own in enumerate(self.types) if not own.isdisjoint(types))

    def accepts(self, thing: int) -> Numbers:
        """Receptacles that `thing` may be put into."""
        if thing not in self._accepts:
            types = {place for place, kind in self._can_contain if kind in self.types[thing]}
            self._accepts[thing] = self.of_type(*types).intersection(self.place)
        return self._accepts[thing]

    @property
    def solvable(self) -> bool:
        """Whether some sequence of commands wins. Exact: no command stands in the way of another."""
        reachable = {thing for receptacle in self.place for thing in self.contents[receptacle]}
        takeable = reachable & self.pickupable & self.goal_things
        if self.target.kind is Kind.LOOK:
            return any(takeable - {lamp} for lamp in reachable & self.goal_places)
        able, done, tools = {
            Kind.CLEAN: (self.cleanable, self.clean, self.cleaners),
            Kind.HEAT: (self.heatable, self.hot, self.heaters),
            Kind.COOL: (self.coolable, self.cool, self.coolers),
        }.get(self.target.kind, (self.goal_things, self.goal_things, self.receptacles))
        done = done & able & self.goal_things
        takeable &= able if self.place.keys() & tools else done
        needed = 2 if self.target.kind is Kind.TWO else 1
        return any(
            len(
                done.intersection(self.contents[place])
                | {thing for thing in takeable if place in self.accepts(thing)}
            )
            >= needed
            for place in self.goal_places
        )

    def _name(self, problem: Problem) -> dict[str, int]:
        """Number and name everything in the room, and note its types."""
        words: set[str] = set()
        for predicate, rows in problem.facts.items():
            for kind, column in zip(SIGNATURES[predicate], zip(*rows, strict=True), strict=True):
                if kind in ("object", "receptacle", "location"):
                    words.update(column)
        ids = sorted(words)
        for word in ids:
            if not word.partition("_bar_")[0].isalnum() or "_bar_" not in word:
                raise DataError(f"the name {word} is not a type followed by coordinates")
        names = number(ids)
        self.names = tuple(names[word] for word in ids)
        self.index = {name: i for i, name in enumerate(self.names)}
        if len(self.index) != len(ids):
            raise DataError("two of its things have the same name")
        numbers = {word: i for i, word in enumerate(ids)}
        types: list[frozenset[str]] = [frozenset()] * len(ids)
        for word, kind in (*problem.facts.get("objecttype", ()), *problem.facts.get("receptacletype", ())):
            types[numbers[word]] |= {kind}
        self.types = tuple(types)
        return numbers


@dataclass(frozen=True, slots=True)
class GameText:
    """A game as it is stored: what both engines are made from.

    `problem` is its PDDL problem, `task` its goal sentence, `rules` the release it was stored for.
    """

    id: str
    kind: Kind
    task: str
    problem: str
    rules: Rules = Rules.V2_1_1

    def parse(self, rules: Rules | None = None) -> Game:
        """The game for the native engine, by `rules` or else by its own.

        Raises:
            DataError: As `Game.parse`; also when the goal is not of the kind that the store says.
        """
        game = Game.parse(self.problem, self.task, rules or self.rules, self.id)
        if game.target.kind is not self.kind:
            raise DataError(
                f"ALFWorld game {self.id} is stored as {self.kind} but its goal is {game.target.kind}"
            )
        return game
