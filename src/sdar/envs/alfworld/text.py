"""The wording of ALFWorld's two releases. The sentences are those of `alfred.twl2` (MIT, see NOTICE)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Rules(StrEnum):
    """A release of the official games."""

    V2_1_1 = "2.1.1"
    V2_1_2 = "2.1.2"


@dataclass(frozen=True, slots=True)
class Wording:
    """Where releases differ: `put X in/on Y` or `move X to Y`, how arrivals are told, `help`, what cleans."""

    put: str
    onto: str
    arrives_at_location: bool
    helps: bool
    cleaners: frozenset[str]


WORDINGS = {
    Rules.V2_1_1: Wording("put", "in/on", True, False, frozenset({"sink", "sinkbasin"})),
    Rules.V2_1_2: Wording("move", "to", False, True, frozenset({"sinkbasin"})),
}

WELCOME = "-= Welcome to TextWorld, ALFRED! =-"
NOTHING = "Nothing happens."
TASK = "Your task is to: "
HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


def listing(phrases: Sequence[str]) -> str:
    """A list in a sentence.

    >>> listing(["a cup 1", "a mug 2"])
    'a cup 1, and a mug 2'
    """
    if not phrases:
        return "nothing"
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + ", and " + phrases[-1]


def number(ids: Sequence[str]) -> dict[str, str]:
    """Ids, sorted, to the names that the player reads: type and a number that counts down.

    >>> number(["cup_bar_1", "cup_bar_2", "sink_bar_1_bar_sinkbasin"])
    {'cup_bar_1': 'cup 2', 'cup_bar_2': 'cup 1', 'sink_bar_1_bar_sinkbasin': 'sinkbasin 1'}
    """
    stems = [name.split("_bar_", 1)[0] + ("basin" if "basin" in name else "") for name in ids]
    left: dict[str, int] = {}
    for stem in stems:
        left[stem] = left.get(stem, 0) + 1
    names = {}
    for name, stem in zip(ids, stems, strict=True):
        names[name] = f"{stem} {left[stem]}"
        left[stem] -= 1
    return names


def condition(
    name: str, *, clean: bool, hot: bool, cool: bool, sliced: bool, lit: bool, sliceable: bool
) -> str:
    """What `examine` says about a held thing."""
    heat = "hot" if hot else "cool" if cool else ""
    if clean:
        look = f"{heat} and clean" if heat else "clean"
    else:
        look = "cold" if heat == "cool" and not sliced else heat
    if look:
        return f"This is a {look} sliced {name}." if sliced else f"This is a {look} {name}."
    if lit:
        return f"This {name} is on."
    if sliced and sliceable:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."
