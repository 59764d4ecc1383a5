"""Distilled banks: from made-up episodes whose lesson is known, and from the experts of real environments."""

import json
from pathlib import Path
from typing import Any

import pytest

from sdar.cli import main
from sdar.errors import DataError
from sdar.runs.records import Notes, trajectory_record
from sdar.runs.rundir import RunDir
from sdar.skills.abstraction import Abstraction, Episode, longest_common, progress
from sdar.skills.bank import SkillBank, find_problems
from sdar.skills.distil import UNSURE, _say, distil

FRUIT = ("apple", "pear", "plum", "fig", "lime", "kiwi")
PLACES = ("shelf", "bowl", "box")
SPOTS = ("attic", "den", "hall", "loft", "porch", "shed")


def record(goal: str, *actions: str, won: bool = True, kind: str = "chill") -> dict[str, Any]:
    """A recorded episode; an action with `!` in front is invalid."""
    turns = [{"action": act.lstrip("!"), "observation": "", "valid": act[0] != "!"} for act in actions]
    end = "done" if won else "max_turns"
    return {"task": goal, "kind": kind, "goal": goal, "success": won, "end": end, "turns": turns}


def chilled(number: int) -> dict[str, Any]:
    fruit, place = FRUIT[number], PLACES[number % 3]
    search = [f"go to {SPOTS[(number + more) % 6]} 1" for more in range(2)]
    find = f"take {fruit} 2 from {PLACES[(number + 1) % 3]} {number}"
    last = ["go to tub 1", f"dip {fruit} 2 in tub 1", f"go to {place} 7", f"put {fruit} 2 in {place} 7"]
    return record(f"Chill a {fruit} for the {place}.", *search, find, *last)


def stuck(number: int) -> dict[str, Any]:
    fruit, place = FRUIT[number], PLACES[number % 3]
    take = f"take {fruit} 2 from {PLACES[(number + 1) % 3]} 4"
    return record(f"Chill a {fruit} for the {place}.", take, "go to tub 1", "go to tub 1", "!jump", won=False)


SUCCESSES = [chilled(number) for number in range(6)]
FAILURES = [stuck(number) for number in range(6)]


def test_names_become_slots_and_constants_stay() -> None:
    episodes = [Episode.read(item) for item in SUCCESSES]
    terms = Abstraction.of(episodes)
    assert terms.named == {*FRUIT, *PLACES}
    assert terms.searching == {"go to <any>"}
    assert terms.course(episodes[1]) == [
        "take <1> from <any>",
        "go to tub 1",
        "dip <1> in tub 1",
        "go to <2>",
        "put <1> in <2>",
    ]


def test_sentences_that_name_different_numbers_of_things_have_one_slot() -> None:
    goals = {
        "buy red shoes": "red shoes",
        "buy a blue long coat": "blue coat",
        "buy a hat, size small": "hat small",
    }
    episodes = [
        Episode.read(record(goal, f"search[{query}]", "click[buy now]")) for goal, query in goals.items()
    ]
    terms = Abstraction.of(episodes)
    assert [terms.steps(episode) for episode in episodes] == [["search[<task>]", "click[buy now]"]] * 3


def test_the_longest_common_course() -> None:
    assert longest_common(["abc", "abc", "axbyc", "zz"], share=0.75) == ["a", "b", "c"]
    assert longest_common(["ab", "ba"], share=1.0) == ["a"]
    assert longest_common([]) == []
    assert longest_common([[str(n) for n in range(40)]] * 30) == [str(n) for n in range(40)], "and quickly"
    assert [progress("abc", steps) for steps in ("", "cab", "aabbc", "bc")] == [0, 2, 3, 0]


def test_a_plan_out_of_successes_and_what_failures_lack() -> None:
    bank = distil([*SUCCESSES, *FAILURES], "fruit")
    general, chill = bank.skills
    assert (general.name, chill.name, chill.kind) == ("general", "chill", "chill")
    assert chill.summary == (
        "take the first thing from bowl, box or shelf, go to tub 1, dip the first thing in tub 1, "
        "go to the second thing, put the first thing in the second thing."
    )
    assert "`dip <1> in tub 1`, `go to <2>`, `put <1> in <2>`. 100% of the successes" in chill.text
    assert "**Failures** lack `dip <1> in tub 1`: 100% of them came up to it, 0% did it." in chill.text
    assert "**Failures repeat themselves:** 33% of their actions" in chill.text
    assert "**Invalid actions:** 25% of the turns" in chill.text
    assert "**Out of turns:** so ended 100% of 6 failures." in chill.text
    assert chill.text.endswith("**Evidence:** 6 successes and 6 failures, 6 tasks.")
    assert "write only actions that are valid." in general.summary


def test_a_part_done_twice_is_said_once() -> None:
    lessons = [
        record(f"Pack two {fruit}.", *[f"take {fruit} 1 from box 1", "pack it"] * 2) for fruit in FRUIT
    ]
    [_, chill] = distil(lessons, "x").skills
    assert chill.summary == "take the thing in the task from box 1, pack it, all twice."


def test_summaries_read_as_advice() -> None:
    terms = Abstraction(frozenset(), False, {}, frozenset())
    steps = ["go to <any>", "go to <task>", "move <task> to <task>"]
    assert _say(steps, terms, examples=True) == (
        "go to what the task names, move what the task names to another thing it names."
    )
    assert _say(["go to <any>"], terms, examples=True) == ""
    assert _say([], terms, examples=True) == ""


def test_too_few_successes_make_no_plan() -> None:
    [general, chill] = distil(FAILURES, "x").skills
    assert chill.summary == UNSURE
    assert "**Often tried:** " in chill.text
    assert "0 successes are too few" in chill.text
    assert "**Plan:**" not in chill.text
    assert general.summary


def test_keywords_tell_kinds_apart() -> None:
    others = [record(f"Warm a {fruit} for the box.", f"warm {fruit}", kind="warm") for fruit in FRUIT]
    skills = {skill.name: skill for skill in distil([*SUCCESSES, *others], "x").skills}
    assert (skills["chill"].keywords, skills["warm"].keywords) == (("chill",), ("warm",))


def test_the_bank_is_the_same_each_time_and_can_be_used(tmp_path: Path) -> None:
    bank = distil([*SUCCESSES, *FAILURES], "fruit")
    assert bank == distil(json.loads(json.dumps([*SUCCESSES, *FAILURES])), "fruit")
    bank.save(tmp_path / "fruit")
    assert SkillBank.load(tmp_path / "fruit", ["chill"]) == bank
    assert find_problems(tmp_path / "fruit", ["chill"]) == []


def test_hostile_actions_and_kinds_are_kept_apart_from_slots() -> None:
    nasty = [record(f"do {fruit}", f"say <1> <b>\n{fruit}, `x` <any>", kind="a b/c") for fruit in FRUIT]
    [_, skill] = distil(nasty, "x").skills
    assert (skill.name, skill.kind) == ("a-b-c", "a b/c")
    assert "\n" not in skill.summary
    with pytest.raises(DataError, match="no recorded episodes"):
        distil([], "x")


def test_experts_of_three_environments_teach_their_plan(expert_records: Any) -> None:
    alfworld = {skill.name: skill for skill in distil(expert_records("alfworld", "planner"), "a").skills}
    assert "heat the first thing with microwave 1" in alfworld["pick_heat_then_place_in_recep"].summary
    assert alfworld["pick_two_obj_and_place"].summary.endswith("all twice.")
    search = {skill.name: skill for skill in distil(expert_records("search_qa", "explorer"), "s").skills}
    assert "`search <3> <2>`, `search <any> <1>`, `answer <any>`" in search["bridge"].text
    assert "answer yes or no" in search["compare"].summary or "answer no or yes" in search["compare"].summary
    webshop = distil(expert_records("webshop", "shopper"), "w").skills
    assert all("click[buy now]" in skill.summary for skill in webshop if skill.kind)


@pytest.fixture
def expert_records() -> Any:
    from sdar.recipe import load_config
    from sdar.rollout.experts import ExpertCollector
    from sdar.settings.config import Layer

    def play(env: str, expert: str) -> list[dict[str, Any]]:
        spec = load_config([Layer("test", {"env": {"name": env}})]).env
        tasks = [spec.tasks("train")[number] for number in range(0, 600, 5)]
        groups = ExpertCollector(spec, expert).collect(tasks, 1, 0)
        return [trajectory_record(group.trajectories[0], Notes()) for group in groups]

    return play


def test_the_command_writes_a_bank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sdar.envs.toy import ToySpec
    from sdar.rollout.experts import ExpertCollector

    spec, run = ToySpec(), RunDir.create(tmp_path, "toy", "")
    groups = ExpertCollector(spec, "walker").collect(spec.tasks("train"), 1, 0)
    run.write_trajectories(1, [group.trajectories[0] for group in groups])
    assert main(["skills", "distil", str(run.path), str(tmp_path / "bank")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "bank")
    assert [skill.summary for skill in SkillBank.load(tmp_path / "bank", ["left", "right"]).skills] == [
        "follow the plan of the kind of task.",
        "left.",
        "right.",
    ]
