"""Procedural ALFWorld games: all six task kinds, in rooms that follow the official lists.

A game is a PDDL problem that both engines load. It depends only on (size, split, index) and is drawn with
`Dice`, so every machine makes the same games. Training and held-out games never share a layout: a room with
its count of each receptacle type.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdar.envs.alfworld.layouts import APPLIANCE, KINDS, OPENABLE, Thing, room_counts, things
from sdar.envs.dice import Dice

SPLITS = ("train", "held_out")
"""Splits of the generated games."""

_ROOMS = {
    "pick_and_place_simple": ("kitchen", "bathroom", "bedroom", "livingroom"),
    "look_at_obj_in_light": ("bedroom", "livingroom"),
    "pick_clean_then_place_in_recep": ("kitchen", "bathroom"),
    "pick_heat_then_place_in_recep": ("kitchen",),
    "pick_cool_then_place_in_recep": ("kitchen",),
    "pick_two_obj_and_place": ("kitchen", "bathroom", "bedroom", "livingroom"),
}
_TREATMENT = {kind: kind.split("_")[1] for kind in KINDS if "then" in kind}
_SENTENCES = {
    "pick_and_place_simple": ("put a {obj} in {place}", "put some {obj} on {place}"),
    "look_at_obj_in_light": ("look at {obj} under the {place}", "examine the {obj} with the {place}"),
    "pick_clean_then_place_in_recep": (
        "put a clean {obj} in {place}",
        "clean some {obj} and put it in {place}",
    ),
    "pick_heat_then_place_in_recep": ("put a hot {obj} in {place}", "heat some {obj} and put it in {place}"),
    "pick_cool_then_place_in_recep": ("put a cool {obj} in {place}", "cool some {obj} and put it in {place}"),
    "pick_two_obj_and_place": ("put two {obj} in {place}", "find two {obj} and put them in {place}"),
}
_SIZES = {"compact": (8, 14), "full": (10, 60)}
_LIKELY = 0.85
_HELD_OUT = 0.2


@dataclass(frozen=True, slots=True)
class GeneratedGame:
    """A generated game: its task kind, task sentence, PDDL text and the layout of its room."""

    kind: str
    goal: str
    problem: str
    layout: str


def generate(size: str, split: str, index: int) -> GeneratedGame:
    """Make game `index` of a split; kinds take turns, so any run of six games has one of each.

    >>> generate("compact", "train", 3).goal
    'put a hot plate in countertop'
    """
    dice = Dice(f"sdar-alfworld-1/{size}/{split}/{index}")
    kind = KINDS[index % len(KINDS)]
    while True:
        room, counts = _draw_layout(dice, size, split, kind)
        aim = _draw_goal(dice, kind, room, counts)
        if aim:
            break
    thing, place = aim
    found = _draw_objects(dice, size, kind, room, counts, thing, place)
    sentence = dice.choice(_SENTENCES[kind]).format(obj=thing.name.lower(), place=place.lower())
    problem = _problem(dice, size, counts, found, _goal(kind, thing.name, place), f"{size}-{split}-{index}")
    return GeneratedGame(kind, sentence, problem, layout_name(room, counts))


def layout_name(room: str, counts: Mapping[str, int]) -> str:
    """The name of a layout: the room and how many receptacles of each type it has."""
    return " ".join([room, *(f"{name}={count}" for name, count in sorted(counts.items()) if count)])


def is_held_out(layout: str) -> bool:
    """Whether a layout belongs to the held-out games; fixed by its name."""
    return hashlib.blake2b(layout.encode(), digest_size=4).digest()[0] < 256 * _HELD_OUT


def _draw_layout(dice: Dice, size: str, split: str, kind: str) -> tuple[str, dict[str, int]]:
    low, high = _SIZES[size]
    room = dice.choice(_ROOMS[kind])
    while True:
        counts = {name: dice.between(*span) for name, span in room_counts(size)[room].items()}
        right_split = is_held_out(layout_name(room, counts)) == (split == "held_out")
        if right_split and low <= sum(counts.values()) <= high:
            return room, {name: count for name, count in counts.items() if count}


def _draw_goal(dice: Dice, kind: str, room: str, counts: Mapping[str, int]) -> tuple[Thing, str] | None:
    """An object type and where to bring it (or the lamp), such that the object can start somewhere else."""
    here = [thing for thing in things().values() if room in thing.rooms and thing.name != "DeskLamp"]
    if kind == "look_at_obj_in_light":
        lamp_fits = any(place in counts for place in things()["DeskLamp"].places)
        usable = [thing for thing in here if any(place in counts for place in thing.places)]
        return (dice.choice(usable), "DeskLamp") if lamp_fits and usable else None
    treatment = _TREATMENT.get(kind)
    pairs = []
    for thing in here:
        places = [place for place in thing.places if place in counts]
        if len(places) > 1 and (treatment is None or treatment in thing.traits):
            pairs.append((thing, [place for place in places if place != APPLIANCE.get(treatment or "")]))
    pairs = [(thing, places) for thing, places in pairs if places]
    if not pairs:
        return None
    thing, places = dice.choice(pairs)
    return thing, dice.choice(places)


def _draw_objects(
    dice: Dice,
    size: str,
    kind: str,
    room: str,
    counts: Mapping[str, int],
    target: Thing,
    goal_place: str,
) -> list[tuple[Thing, str]]:
    """Every object with the receptacle it starts in; those of the goal do not start in the goal's places."""
    needed = (2 if kind == "pick_two_obj_and_place" else 1) + dice.chance(0.3)
    found = [(target, _draw_place(dice, target, counts, goal_place)) for _ in range(needed)]
    lamp = things()["DeskLamp"]
    if kind == "look_at_obj_in_light":
        found.append((lamp, _draw_place(dice, lamp, counts)))
    others = [
        thing
        for thing in things().values()
        if room in thing.rooms
        and thing not in (target, lamp)
        and any(place in counts for place in thing.places)
    ]
    if size == "compact":
        others = dice.some(others, dice.between(5, 8))
    for thing in others:
        for _ in range(1 if size == "compact" else dice.between(1, 3)):
            found.append((thing, _draw_place(dice, thing, counts)))
    return found


def _draw_place(dice: Dice, thing: Thing, counts: Mapping[str, int], avoid: str = "") -> str:
    """A receptacle like `Drawer 2`: mostly of a likely type, else of any type that may hold the thing."""
    usable = {place: share for place, share in thing.places.items() if place in counts and place != avoid}
    likely = {place: share for place, share in usable.items() if place in thing.likely}
    place = dice.weighted(likely) if likely and dice.chance(_LIKELY) else dice.choice(list(usable))
    return _id(place, dice.between(1, counts[place]))


def _id(name: str, number: int) -> str:
    """An id that the engines name `<name> <number>`; a basin is part of a sink or bathtub, as officially."""
    if name.endswith("Basin"):
        return f"{name.removesuffix('Basin')}_bar_{number:02d}_bar_{name}"
    return f"{name}_bar_{number:02d}"


def _problem(
    dice: Dice,
    size: str,
    counts: Mapping[str, int],
    found: Sequence[tuple[Thing, str]],
    goal: str,
    name: str,
) -> str:
    """The PDDL text. In full rooms neighbours of one type sometimes share a location, as officially."""
    spots = {_id(kind, number): kind for kind, count in counts.items() for number in range(1, count + 1)}
    numbers = dice.some(range(1, len(spots) + 2), len(spots) + 1)
    where: dict[str, str] = {}
    before = ""
    for spot, kind in spots.items():
        shared = size == "full" and kind == spots.get(before) and dice.chance(0.15)
        where[spot] = where[before] if shared else _id("loc", numbers.pop())
        before = spot
    start = _id("loc", numbers.pop())
    seen: Counter[str] = Counter()
    objects = []
    for thing, spot in found:
        seen[thing.name] += 1
        objects.append((_id(thing.name, seen[thing.name]), thing, spot))
    facts = [f"atLocation agent1 {start}"]
    for spot, kind in spots.items():
        facts += [f"receptacleType {spot} {kind}Type", f"receptacleAtLocation {spot} {where[spot]}"]
        facts += [f"openable {spot}"] if kind in OPENABLE else []
    for item, thing, spot in objects:
        facts += [f"objectType {item} {thing.name}Type", f"inReceptacle {item} {spot}"]
        facts += [f"objectAtLocation {item} {where[spot]}"]
        facts += [f"{predicate} {item}" for predicate in _predicates(thing)]
    for name_of_type in seen:
        fitting = [place for place in things()[name_of_type].places if place in counts]
        facts += [f"canContain {place}Type {name_of_type}Type" for place in fitting]
    declared = ["agent1 - agent"]
    declared += [f"{name}Type - otype" for name in sorted({*seen, "Knife", "ButterKnife"})]
    declared += [f"{name}Type - rtype" for name in sorted({*counts, "Sink", *APPLIANCE.values()})]
    declared += [f"{item} - object" for item, _, _ in objects] + [f"{spot} - receptacle" for spot in spots]
    declared += [f"{spot} - location" for spot in sorted({start, *where.values()})]
    return (
        f"(define (problem {name})\n(:domain alfred)\n(:objects\n"
        + "\n".join(declared)
        + "\n)\n(:init\n"
        + "\n".join(f"({fact})" for fact in facts)
        + f"\n)\n(:goal {goal})\n)\n"
    )


def _predicates(thing: Thing) -> list[str]:
    if thing.name == "DeskLamp":
        return ["toggleable"]
    names = {"clean": "cleanable", "heat": "heatable", "cool": "coolable", "slice": "sliceable"}
    names["container"] = "isReceptacleObject"
    return ["pickupable", *(names[trait] for trait in names if trait in thing.traits)]


def _goal(kind: str, thing: str, place: str) -> str:
    """The goal formula, in the shape that the official games have."""
    if kind == "look_at_obj_in_light":
        return (
            "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location)"
            f" (and (objectType ?ot {place}Type) (toggleable ?ot) (isToggled ?ot)"
            " (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))"
            f" (exists (?o - object ?a - agent) (and (objectType ?o {thing}Type) (holds ?a ?o))))"
        )
    if kind == "pick_two_obj_and_place":
        one, two = (
            f"(objectType {o} {thing}Type) (receptacleType ?r {place}Type) (inReceptacle {o} ?r)"
            for o in ("?o1", "?o2")
        )
        return (
            f"(and (exists (?r - receptacle) (exists (?o1 - object) (and {one}"
            f" (exists (?o2 - object) (and (not (= ?o1 ?o2)) {two}))))))"
        )
    types = f"(objectType ?o {thing}Type) (receptacleType ?r {place}Type)"
    treatment = _TREATMENT.get(kind)
    if treatment is None:
        inner = f"(inReceptacle ?o ?r) {types}"
    else:
        able, done = f"{treatment}able", {"clean": "isClean", "heat": "isHot", "cool": "isCool"}[treatment]
        inner = f"({able} ?o) {types} ({done} ?o) (inReceptacle ?o ?r)"
    return f"(and (exists (?r - receptacle) (exists (?o - object) (and {inner}))))"
