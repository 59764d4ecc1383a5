"""What our ALFWorld bank says is true of the official games, and its summaries suit a small model."""

import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdar.skills.bank import SkillBank
from sdar.skills.retrieval import Keyword, Query
from sdar.types import Task

KINDS = (
    "look_at_obj_in_light",
    "pick_and_place_simple",
    "pick_clean_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_two_obj_and_place",
)
IN = re.compile(r"\(inreceptacle (\w+?)_bar_\S+ (\S+?)\)", re.IGNORECASE)
GOAL_TYPE = re.compile(r"\(objecttype \?\w+ (\w+)type\)", re.IGNORECASE)


@pytest.fixture(scope="module")
def alfworld() -> SkillBank:
    return SkillBank.load("alfworld", KINDS)


def games(shared_data: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(shared_data / "alfworld" / "valid_seen.jsonl.xz", "rt") as lines:
        yield from map(json.loads, lines)


def test_one_general_file_and_one_for_each_kind(alfworld: SkillBank) -> None:
    assert [skill.name for skill in alfworld.skills] == ["general", *KINDS]
    assert [skill.kind for skill in alfworld.skills] == ["", *KINDS]


def test_summaries_are_short_and_lower_case(alfworld: SkillBank) -> None:
    for skill in alfworld.skills:
        low, high = (25, 40) if skill.is_general else (15, 30)
        assert low <= len(skill.summary.split()) <= high, skill.name
        assert re.fullmatch(r"[a-z0-9 ,.]+", skill.summary), skill.name


def test_keywords_find_the_kind_of_every_official_goal(alfworld: SkillBank, shared_data: Path) -> None:
    for game in games(shared_data):
        found = Keyword().select(Query(alfworld, Task(game["id"], game["task_type"]), game["task"]))
        assert [skill.kind for skill in found] == ["", game["task_type"]], game["task"]


def test_places_named_for_an_object_are_where_it_is(alfworld: SkillBank, shared_data: Path) -> None:
    rows = re.findall(r"^ +- ([a-z, ]+): ([a-z, ]+)$", alfworld.general[0].text, re.MULTILINE)
    places = {thing: set(where.split(", ")) for things, where in rows for thing in things.split(", ")}
    assert len(places) == sum(len(things.split(", ")) for things, _ in rows) > 40
    hits = total = 0
    for game in games(shared_data):
        init, goal = game["pddl_problem"].lower().split("(:goal")
        wanted = set(GOAL_TYPE.findall(goal)) - {"desklamp"}
        assert wanted <= set(places), wanted
        for thing, place in IN.findall(init):
            if thing in wanted:
                kind = place.split("_bar_")[0] + ("basin" if place.endswith("basin") else "")
                total += 1
                hits += kind in places[thing]
    assert total > 200
    assert hits / total > 0.85
