"""The native ALFWorld engine: plays `alfred.pddl` with the texts of `alfred.twl2`, exactly as TextWorld does.

Some rules of the official domain look odd and are kept: `examine` works on a thing only while it is held;
lamps are switched on through closed doors and never off; heating, cooling and cleaning need no open door; a
thing can be in two receptacles; `look` mentions a thing only if it was taken from a receptacle that stands
where the thing lies now.
"""

import re
from collections.abc import Callable

from sdar.envs.alfworld.game import Game
from sdar.envs.alfworld.problem import Goal, Kind
from sdar.envs.alfworld.text import HELP, NOTHING, TASK, WELCOME, Rules, condition, listing

__all__ = ["Episode", "Game", "Goal", "Kind", "Rules"]

NAME = r"(\S+ \d+)"
Numbers = frozenset[int]


class Episode:
    """One play of a game.

    Attributes:
        game: The game; never changed.
        location: Where the player stands.
        held: The thing in hand, if any.
        contents: Things by receptacle, in listing order.
        opened: Receptacles whose door is open.
        nearby: Things by location, as the official domain tracks them; what can be sliced.
        clean, hot, cool, lit, sliced: Things in that condition.
        removed: (thing, receptacle) pairs that a `take` has separated.
    """

    __slots__ = (
        "_admissible", "clean", "contents", "cool", "game", "held", "hot", "lit", "location", "nearby",
        "opened", "removed", "sliced",
    )  # fmt: skip

    game: Game
    location: int
    held: int | None
    contents: dict[int, tuple[int, ...]]
    nearby: dict[int, Numbers]
    opened: Numbers
    clean: Numbers
    hot: Numbers
    cool: Numbers
    lit: Numbers
    sliced: Numbers
    removed: frozenset[tuple[int, int]]
    _admissible: tuple[str, ...] | None

    def __init__(self, game: Game) -> None:
        self.game = game
        self.reset()

    def reset(self) -> str:
        """Go back to the start and return the introduction."""
        game = self.game
        self.location, self.held = game.start, None
        self.contents, self.nearby = game.contents.copy(), game.nearby.copy()
        self.opened, self.lit, self.sliced = game.opened, game.lit, game.sliced
        self.clean, self.hot, self.cool = game.clean, game.hot, game.cool
        self.removed, self._admissible = frozenset(), None
        if not game.intro:
            around = listing([f"a {game.names[r]}" for r in game.receptacles])
            game.intro = f"{WELCOME}\n\n{self._look(around)}\n\n{TASK}{game.task}."
        return game.intro

    def copy(self) -> "Episode":
        """An independent episode in the same state."""
        other = object.__new__(Episode)
        for slot in Episode.__slots__:
            setattr(other, slot, getattr(self, slot))
        other.contents, other.nearby = self.contents.copy(), self.nearby.copy()
        return other

    def step(self, command: str) -> str:
        """Apply `command` and return the feedback; what is not admissible changes nothing."""
        command = command.strip()
        action = self.game.actions.get(command)
        if action is None:
            action = _read(self.game, command)
            if action is None:
                return NOTHING
            self.game.actions[command] = action
        handler, arguments = action
        return handler(self, *arguments) or NOTHING

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""
        game, kind = self.game, self.game.target.kind
        if kind is Kind.LOOK:
            lamps = game.goal_places & self.lit
            return self.held in game.goal_things and any(
                not lamps.isdisjoint(self.contents[r]) for r in game.stops.get(self.location, ())
            )
        counting = game.goal_things
        if kind is Kind.CLEAN:
            counting = counting & game.cleanable & self.clean
        elif kind is Kind.HEAT:
            counting = counting & game.heatable & self.hot
        elif kind is Kind.COOL:
            counting = counting & game.coolable & self.cool
        needed = 2 if kind is Kind.TWO else 1
        return any(len(counting.intersection(self.contents[place])) >= needed for place in game.goal_places)

    @property
    def admissible(self) -> tuple[str, ...]:
        """Every command that has an effect or a text now, sorted, as the official engine lists them."""
        if self._admissible is None:
            self._admissible = tuple(sorted({*self._standing(), *self._handling()}))
        return self._admissible

    def is_open(self, receptacle: int) -> bool:
        """Whether things can be put into and taken out of `receptacle`."""
        return receptacle in self.opened or receptacle not in self.game.openable

    def _standing(self) -> list[str]:
        """The commands that depend on the location only."""
        game, location = self.game, self.location
        commands = game.standing.get(location)
        if commands is None:
            commands = ["inventory", "look"] + ["help"] * game.wording.helps
            for r in game.receptacles:
                commands.append(f"{'examine' if game.place[r] == location else 'go to'} {game.names[r]}")
            game.standing[location] = commands
        return commands

    def _handling(self) -> list[str]:
        """The commands that depend on what is in reach."""
        game, names, held = self.game, self.game.names, self.held
        put, onto = game.wording.put, game.wording.onto
        commands = []
        for r in game.stops.get(self.location, ()):
            name, is_open = names[r], self.is_open(r)
            if r in game.openable:
                commands.append(f"{'close' if is_open else 'open'} {name}")
            for thing in self.contents[r]:
                if held is None and is_open and thing in game.pickupable:
                    commands.append(f"take {names[thing]} from {name}")
                if thing in game.toggleable:
                    commands.append(f"use {names[thing]}")
            if held is None:
                continue
            if is_open and r in game.accepts(held):
                commands.append(f"{put} {names[held]} {onto} {name}")
            if r in game.cleaners and held in game.cleanable:
                commands.append(f"clean {names[held]} with {name}")
            if r in game.heaters and held in game.heatable:
                commands.append(f"heat {names[held]} with {name}")
            if r in game.coolers and held in game.coolable:
                commands.append(f"cool {names[held]} with {name}")
        if held is not None:
            commands.append(f"examine {names[held]}")
            if held in game.knives:
                near = self.nearby.get(self.location, frozenset()) & game.sliceable
                commands += [f"slice {names[thing]} with {names[held]}" for thing in near]
        return commands

    # Each handler below returns the feedback, or nothing where the command is not admissible.

    def _here(self, receptacle: int) -> bool:
        return self.game.place.get(receptacle) == self.location

    def _look(self, around: str = "nothing") -> str:
        game = self.game
        stops = game.stops.get(self.location)
        if not stops:
            return f"You are in the middle of a room. Looking quickly around you, you see {around}."
        beside = [
            f"a {game.names[thing]}"
            for thing in sorted(self.nearby.get(self.location, ()))
            for r in stops
            if (thing, r) in self.removed
        ]
        facing = listing([game.names[r] for r in stops])
        return f"You are facing the {facing}. Next to it, you see {listing(beside)}."

    def _inventory(self) -> str:
        if self.held is None:
            return "You are not carrying anything."
        return f"You are carrying: a {self.game.names[self.held]}."

    def _help(self) -> str:
        return HELP if self.game.wording.helps else ""

    def _show(self, r: int) -> str:
        name, names = self.game.names[r], self.game.names
        if not self.is_open(r):
            return f"The {name} is closed."
        seen = listing([f"a {names[thing]}" for thing in self.contents[r]])
        if r in self.game.openable:
            return f"The {name} is open. In it, you see {seen}."
        return f"On the {name}, you see {seen}."

    def _go(self, r: int) -> str:
        game = self.game
        if r not in game.place or self._here(r):
            return ""
        self.location, self._admissible = game.place[r], None
        arrived = game.names[self.location if game.wording.arrives_at_location else r]
        return f"You arrive at {arrived}. {self._show(r)}"

    def _examine(self, i: int) -> str:
        game = self.game
        if self._here(i):
            return self._show(i)
        if i != self.held:
            return ""
        name = game.names[i]
        if i in game.holders:
            inner = listing([f"a {game.names[thing]}" for thing in game.inside.get(i, ())])
            return f"This is a normal {name}. In it, you see {inner}."
        return condition(
            name, clean=i in self.clean, hot=i in self.hot, cool=i in self.cool, sliced=i in self.sliced,
            lit=i in self.lit and i in game.toggleable, sliceable=i in game.sliceable,
        )  # fmt: skip

    def _open(self, r: int) -> str:
        if not self._here(r) or self.is_open(r):
            return ""
        self.opened, self._admissible = self.opened | {r}, None
        return f"You open the {self.game.names[r]}. {self._show(r)}"

    def _close(self, r: int) -> str:
        if not self._here(r) or r not in self.game.openable or r not in self.opened:
            return ""
        self.opened, self._admissible = self.opened - {r}, None
        return f"You close the {self.game.names[r]}."

    def _take(self, thing: int, r: int) -> str:
        game = self.game
        if self.held is not None or not self._here(r) or not self.is_open(r):
            return ""
        if thing not in self.contents[r] or thing not in game.pickupable:
            return ""
        self.held, self._admissible = thing, None
        self.contents[r] = tuple(other for other in self.contents[r] if other != thing)
        self.removed |= {(thing, r)}
        self.nearby[self.location] = self.nearby.get(self.location, frozenset()) - {thing}
        return f"You pick up the {game.names[thing]} from the {game.names[r]}."

    def _put(self, thing: int, r: int) -> str:
        game = self.game
        if thing != self.held or not self._here(r) or not self.is_open(r) or r not in game.accepts(thing):
            return ""
        self.held, self._admissible = None, None
        self.contents[r] = tuple(sorted({*self.contents[r], thing}))
        self.removed -= {(thing, r)}
        self.nearby[self.location] = self.nearby.get(self.location, frozenset()) | {thing}
        return f"You {game.wording.put} the {game.names[thing]} {game.wording.onto} the {game.names[r]}."

    def _use(self, thing: int) -> str:
        game = self.game
        if thing not in game.toggleable:
            return ""
        if not any(thing in self.contents[r] for r in game.stops.get(self.location, ())):
            return ""
        self.lit |= {thing}
        return f"You turn on the {game.names[thing]}."

    def _clean(self, thing: int, r: int) -> str:
        if not self._treats(thing, r, self.game.cleaners, self.game.cleanable):
            return ""
        self.clean |= {thing}
        return f"You clean the {self.game.names[thing]} using the {self.game.names[r]}."

    def _heat(self, thing: int, r: int) -> str:
        if not self._treats(thing, r, self.game.heaters, self.game.heatable):
            return ""
        self.hot, self.cool = self.hot | {thing}, self.cool - {thing}
        return f"You heat the {self.game.names[thing]} using the {self.game.names[r]}."

    def _cool(self, thing: int, r: int) -> str:
        if not self._treats(thing, r, self.game.coolers, self.game.coolable):
            return ""
        self.cool, self.hot = self.cool | {thing}, self.hot - {thing}
        return f"You cool the {self.game.names[thing]} using the {self.game.names[r]}."

    def _treats(self, thing: int, r: int, tools: Numbers, able: Numbers) -> bool:
        return thing == self.held and thing in able and r in tools and self._here(r)

    def _slice(self, thing: int, knife: int) -> str:
        game = self.game
        if knife != self.held or knife not in game.knives or thing not in game.sliceable:
            return ""
        if thing not in self.nearby.get(self.location, ()):
            return ""
        self.sliced |= {thing}
        return f"You sliced the {game.names[thing]} with the {game.names[knife]}."


Handler = Callable[..., str]

_PLAIN: dict[str, Handler] = {"look": Episode._look, "inventory": Episode._inventory, "help": Episode._help}
_ONE: dict[str, Handler] = {
    "go to": Episode._go,
    "examine": Episode._examine,
    "open": Episode._open,
    "close": Episode._close,
    "use": Episode._use,
}
_TWO: dict[tuple[str, str], Handler] = {
    ("take", "from"): Episode._take,
    ("put", "in/on"): Episode._put,
    ("move", "to"): Episode._put,
    ("clean", "with"): Episode._clean,
    ("heat", "with"): Episode._heat,
    ("cool", "with"): Episode._cool,
    ("slice", "with"): Episode._slice,
}
_COMMAND = re.compile(rf"({'|'.join(_ONE)}) {NAME}|(\w+) {NAME} (\S+) {NAME}")


def _read(game: Game, command: str) -> tuple[Handler, tuple[int, ...]] | None:
    """The handler of a well-formed command about things of this game, and their numbers."""
    if command in _PLAIN:
        return _PLAIN[command], ()
    match = _COMMAND.fullmatch(command)
    if match is None:
        return None
    verb, name, first_verb, first, link, second = match.groups()
    handler = _ONE.get(verb) or _TWO.get((first_verb, link))
    if handler is None or (handler is Episode._put and first_verb != game.wording.put):
        return None
    names = (name,) if verb else (first, second)
    numbers = tuple(game.index[name] for name in names if name in game.index)
    return (handler, numbers) if len(numbers) == len(names) else None
