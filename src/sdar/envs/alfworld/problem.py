"""Reads the PDDL problem of an ALFWorld game: facts and goal. What the engine does not cover is refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from sdar.errors import DataError

Row = tuple[str, ...]

SIGNATURES: dict[str, Row] = {
    "atlocation": ("agent", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "objectatlocation": ("object", "location"),
    "inreceptacle": ("object", "receptacle"),
    "inreceptacleobject": ("object", "object"),
    "receptacletype": ("receptacle", "rtype"),
    "objecttype": ("object", "otype"),
    "cancontain": ("rtype", "otype"),
    "openable": ("receptacle",),
    "opened": ("receptacle",),
    "isreceptacleobject": ("object",),
    "pickupable": ("object",),
    "cleanable": ("object",),
    "isclean": ("object",),
    "heatable": ("object",),
    "ishot": ("object",),
    "coolable": ("object",),
    "iscool": ("object",),
    "toggleable": ("object",),
    "istoggled": ("object",),
    "sliceable": ("object",),
    "issliced": ("object",),
}
"""Predicates that a problem may state, with the types of their arguments."""


class Kind(StrEnum):
    """The six task kinds, by their official names."""

    PUT = "pick_and_place_simple"
    LOOK = "look_at_obj_in_light"
    CLEAN = "pick_clean_then_place_in_recep"
    HEAT = "pick_heat_then_place_in_recep"
    COOL = "pick_cool_then_place_in_recep"
    TWO = "pick_two_obj_and_place"


@dataclass(frozen=True, slots=True)
class Goal:
    """What wins: an `object` in a receptacle of type `place`; LOOK: held in the light of a lamp `place`."""

    kind: Kind
    object: str
    place: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in lower case: the facts that hold at the start, by predicate, and the goal.

    `can_contain` holds pairs of types: receptacle, thing. Types are without their suffix: "fridge".
    """

    facts: dict[str, list[Row]]
    can_contain: frozenset[Row]
    goal: Goal


_SHAPE = re.compile(
    r"\s*\(define\s*\(problem\s+\S+\s*\)\s*\(:domain\s+alfred\s*\)\s*\(:objects\s([^()]*)\)"
    r"\s*\(:init\s(.*)\)\s*\(:goal\s(.*)\)\s*\)\s*",
    re.DOTALL,
)
_FACT = re.compile(r"\(\s*([^\s()]+)([^()]*)\)")
_TABLE = re.compile(r"(?:\(cancontain [^()]*\)\s*)+")

_CHANGED = {
    Kind.CLEAN: ("cleanable", "isclean"),
    Kind.HEAT: ("heatable", "ishot"),
    Kind.COOL: ("coolable", "iscool"),
}


def _goal_forms() -> dict[Kind, re.Pattern[str]]:
    """The goal of each kind as the official generator writes it, blanks around brackets removed."""

    def exists(variables: str, *parts: str) -> str:
        return f"(exists({variables})(and{''.join(f'({part})' for part in parts)}))"

    def within(inner: str) -> str:
        return f"(and(exists(?r - receptacle){inner}))"

    thing, place, put = "objecttype ?o {object}", "receptacletype ?r {place}", "inreceptacle ?o ?r"
    lamp = exists(
        "?ot - object ?r - receptacle ?a - agent ?l - location",
        "objecttype ?ot {place}", "toggleable ?ot", "istoggled ?ot",
        "receptacleatlocation ?r ?l", "atlocation ?a ?l", "inreceptacle ?ot ?r",
    )  # fmt: skip
    held = exists("?o - object ?a - agent", thing, "holds ?a ?o")
    first, second = (tuple(part.replace("?o", f"?o{i}") for part in (thing, place, put)) for i in (1, 2))
    other = exists("?o2 - object", "not(= ?o1 ?o2)", *second)
    forms = {
        Kind.PUT: within(exists("?o - object", put, thing, place)),
        Kind.LOOK: f"(and{lamp}{held})",
        Kind.TWO: within(exists("?o1 - object", *first, other[1:-1])),
    }
    for kind, (able, done) in _CHANGED.items():
        forms[kind] = within(exists("?o - object", f"{able} ?o", thing, place, f"{done} ?o", put))
    return {kind: _pattern(form) for kind, form in forms.items()}


def _pattern(form: str) -> re.Pattern[str]:
    text = re.escape(form)
    for slot in ("object", "place"):
        hole = re.escape(f"{{{slot}}}")
        text = text.replace(hole, rf"(?P<{slot}>\w+)type", 1).replace(hole, rf"(?P={slot})type")
    return re.compile(text)


_FORMS = _goal_forms()


def _read_goal(text: str) -> Goal:
    plain = re.sub(r"\s*([()])\s*", r"\1", re.sub(r"\s+", " ", text))
    for kind, form in _FORMS.items():
        if match := form.fullmatch(plain):
            return Goal(kind, match["object"], match["place"])
    raise DataError(f"its goal is of none of the six kinds: {plain[:200]}")


@lru_cache(maxsize=256)
def _read_table(text: str) -> frozenset[Row]:
    return frozenset(tuple(arguments.split()) for _, arguments in _FACT.findall(text))


def _check_types(predicate: str, rows: Sequence[Row], declared: dict[str, set[str]]) -> None:
    signature = SIGNATURES.get(predicate)
    if signature is None:
        raise DataError(f"it states ({predicate} ...), which the native engine does not cover")
    if any(len(row) != len(signature) for row in rows):
        raise DataError(f"a fact of {predicate} does not have {len(signature)} arguments")
    for kind, column in zip(signature, zip(*rows, strict=True), strict=True):
        if unknown := set(column) - declared.get(kind, set()):
            raise DataError(f"{predicate} names {min(unknown)}, which is not declared as {kind}")


def check_whole(text: str) -> None:
    """Raise `ValueError` for a text that was cut or is no problem; much faster than `read_problem`."""
    if not isinstance(text, str) or text.count("(") != text.count(")") or ":goal" not in text:
        raise ValueError("its problem text was cut short")


def read_problem(text: str) -> Problem:
    """Parse the text of a PDDL problem.

    Raises:
        DataError: The text is not an ALFWorld problem, or states something that the engine does not cover.
    """
    match = _SHAPE.fullmatch(re.sub(r";[^\n]*", "", text).lower())
    if match is None:
        raise DataError("its problem text is not an ALFRED problem")
    objects, init, goal = match.groups()
    declared: dict[str, set[str]] = {}
    words = objects.split()
    if len(words) % 3 or any(dash != "-" for dash in words[1::3]):
        raise DataError("its objects are not declared one by one as 'name - type'")
    for name, kind in zip(words[::3], words[2::3], strict=True):
        declared.setdefault(kind, set()).add(name)
    can_contain: frozenset[Row] = frozenset().union(*map(_read_table, _TABLE.findall(init)))
    init = _TABLE.sub("", init)
    facts: dict[str, list[Row]] = {}
    for predicate, arguments in _FACT.findall(init):
        facts.setdefault(predicate, []).append(tuple(arguments.split()))
    if rest := _FACT.sub("", init).strip():
        raise DataError(f"its initial state holds more than plain facts: {rest[:80]}")
    tables = {"cancontain": list(can_contain)} if can_contain else {}
    for predicate, rows in (facts | tables).items():
        _check_types(predicate, rows, declared)
    for predicate in ("objecttype", "receptacletype"):
        facts[predicate] = [(name, _word(kind)) for name, kind in facts.get(predicate, ())]
    return Problem(facts, frozenset((_word(a), _word(b)) for a, b in can_contain), _read_goal(goal))


def _word(kind: str) -> str:
    """The type as it is read: "fridgetype" is "fridge"."""
    return kind.removesuffix("type")
