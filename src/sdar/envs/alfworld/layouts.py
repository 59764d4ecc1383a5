"""What the ALFRED rooms are made of: their receptacles, their objects, and where objects are found.

The counts and frequencies were measured on the official ALFWorld games (json_2.1.1, MIT) and rounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sdar.envs.alfworld.problem import Kind

KINDS = tuple(kind.value for kind in Kind)
"""The six official task kinds."""

APPLIANCE = {"clean": "SinkBasin", "heat": "Microwave", "cool": "Fridge"}
"""The receptacle type that a treatment needs."""

OPENABLE = frozenset({"Cabinet", "Drawer", "Fridge", "Microwave", "Safe"})
"""Receptacle types that start closed."""

# Each entry is a receptacle type and how many of them a room has.
_ROOMS = {
    "full": {
        "kitchen": (
            "Cabinet=8-19 CoffeeMachine CounterTop=1-4 DiningTable=0-2 Drawer=2-8 Fridge GarbageCan"
            " Microwave Shelf=0-3 SideTable=0-1 SinkBasin StoveBurner=4 Toaster"
        ),
        "bathroom": (
            "BathtubBasin=0-1 Cabinet=0-4 Cart=0-1 CounterTop=1-2 Drawer=0-4 GarbageCan"
            " HandTowelHolder=1-2 Shelf=0-2 SideTable=0-1 SinkBasin=1-2 Toilet ToiletPaperHanger"
            " TowelHolder=1-2"
        ),
        "bedroom": (
            "ArmChair=0-1 Bed=1-2 Cabinet=0-1 Desk=0-2 Drawer=1-8 Dresser=0-1 GarbageCan"
            " LaundryHamper=0-1 Safe=0-1 Shelf=0-6 SideTable=1-2"
        ),
        "livingroom": (
            "ArmChair=0-2 Cabinet=0-3 CoffeeTable=0-2 DiningTable=0-1 Drawer=0-8 Dresser=0-1 GarbageCan"
            " Ottoman=0-1 Shelf=0-4 SideTable=1-3 Sofa=1-2 TVStand=0-1"
        ),
    },
    "compact": {
        "kitchen": (
            "Cabinet=1-3 CoffeeMachine=0-1 CounterTop=1-2 DiningTable=0-1 Drawer=1-2 Fridge GarbageCan"
            " Microwave Shelf=0-1 SinkBasin StoveBurner=0-1"
        ),
        "bathroom": (
            "BathtubBasin=0-1 Cabinet=1-3 CounterTop Drawer=0-2 GarbageCan HandTowelHolder=0-1"
            " Shelf=0-1 SinkBasin=1-2 Toilet ToiletPaperHanger TowelHolder=0-1"
        ),
        "bedroom": (
            "ArmChair=0-1 Bed Desk=0-1 Drawer=1-3 Dresser=0-1 GarbageCan LaundryHamper=0-1 Safe=0-1"
            " Shelf=0-2 SideTable=1-2"
        ),
        "livingroom": (
            "ArmChair=0-1 Cabinet=0-1 CoffeeTable DiningTable=0-1 Drawer=0-2 Dresser=0-1 GarbageCan"
            " Shelf=0-2 SideTable=1-2 Sofa TVStand=0-1"
        ),
    },
}


_ROOM_CODES = {"k": "kitchen", "b": "bedroom", "l": "livingroom", "t": "bathroom"}
_TRAITS = {"c": "clean", "h": "heat", "f": "cool", "s": "slice", "r": "container"}


@dataclass(frozen=True, slots=True)
class Thing:
    """An object type: the rooms it is in, what can be done to it, and how often it is found where."""

    name: str
    rooms: frozenset[str]
    traits: frozenset[str]
    likely: Mapping[str, int]
    places: Mapping[str, int]
    """Every receptacle type that may hold it, the likely ones first, with percentages."""


def _places(text: str) -> dict[str, int]:
    return {place: int(share) for place, share in (item.split("=") for item in text.split())}


@cache
def things() -> Mapping[str, Thing]:
    """All object types by name, read from `things.txt`."""
    table = {}
    for line in Path(__file__).with_name("things.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, rooms, traits, found = line.split(maxsplit=3)
        likely, _, others = found.partition("/")
        table[name] = Thing(
            name,
            frozenset(_ROOM_CODES[code] for code in rooms),
            frozenset(_TRAITS[code] for code in traits if code in _TRAITS),
            _places(likely),
            _places(likely) | _places(others),
        )
    return table


@cache
def room_counts(size: str) -> Mapping[str, Mapping[str, tuple[int, int]]]:
    """For each room, its receptacle types with the least and the largest number of each."""

    def bounds(entry: str) -> tuple[str, tuple[int, int]]:
        name, _, span = entry.partition("=")
        low, _, high = (span or "1").partition("-")
        return name, (int(low), int(high or low))

    return {room: dict(map(bounds, text.split())) for room, text in _ROOMS[size].items()}


@cache
def find_weights() -> Mapping[str, Mapping[str, int]]:
    """Lower-case object type -> lower-case receptacle type -> how often one is found there, in percent."""
    return {
        name.lower(): {place.lower(): share for place, share in thing.places.items()}
        for name, thing in things().items()
    }


def likely_places(kind_of_object: str) -> tuple[str, ...]:
    """Lower-case receptacle types where an object is likely found, best first.

    >>> likely_places("egg")
    ('fridge', 'garbagecan', 'sinkbasin')
    """
    weights = find_weights().get(kind_of_object, {})
    likely = next((len(t.likely) for n, t in things().items() if n.lower() == kind_of_object), 0)
    return tuple(weights)[:likely]
