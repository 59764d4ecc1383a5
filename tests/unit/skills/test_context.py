import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest

from sdar.errors import ConfigError
from sdar.skills import junk
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.context import HEADING, Content, Detail, SkillContext, SkillsConfig
from sdar.skills.retrieval import ByKind, Everything, RandomKind, retrievals
from sdar.types import Message, Task

MESSAGES = (Message("system", "be good"), Message("user", "a door"), Message("user", "a wall"))
TASKS = [Task(f"train/{i}", "heat") for i in range(400)]


def context(bank: SkillBank, rule: str = "by-kind", **settings: object) -> SkillContext:
    return SkillContext(bank, retrievals[rule](), **settings)


def test_full_text_goes_into_the_first_user_message(bank: SkillBank) -> None:
    full = context(bank)
    out = full.apply(MESSAGES, full.select(TASKS[0], "goal"))
    text = f"{HEADING}\n\n1. Look around.\n\n---\n\n2. Once.\n\n1. Use the microwave.\n\na door"
    assert out == (MESSAGES[0], Message("user", text), MESSAGES[2])


def test_summaries_are_one_a_line(bank: SkillBank) -> None:
    short = context(bank, detail=Detail.SUMMARY)
    out = short.apply(MESSAGES[1:], short.select(TASKS[0], "goal"))
    assert out[0].content == f"{HEADING}\nlook around: once.\nuse the microwave.\n\na door"


def test_no_skills_leave_messages_alone(bank: SkillBank) -> None:
    none = context(bank, "none")
    assert none.apply(list(MESSAGES), none.select(TASKS[0], "goal")) == MESSAGES


def test_no_user_message_is_an_error(bank: SkillBank) -> None:
    with pytest.raises(ConfigError, match="the prompt has none"):
        context(bank).apply(MESSAGES[:1], bank.skills)


def test_wrong_rate_swaps_that_share_of_tasks(bank: SkillBank) -> None:
    right = context(bank).select(TASKS[0], "")
    half = [context(bank, wrong_rate=0.5).select(task, "") for task in TASKS]
    full = [context(bank, wrong_rate=1.0).select(task, "") for task in TASKS]
    assert sum(skills != right for skills in half) / len(TASKS) == pytest.approx(0.5, abs=0.08)
    assert {tuple(s.name for s in skills) for skills in full} == {("basics", "cool"), ("basics", "put")}
    assert all(h in (right, f) for h, f in zip(half, full, strict=True))
    assert half != [context(bank, wrong_rate=0.5, seed=1).select(task, "") for task in TASKS]


def test_wrong_rate_takes_the_right_file_from_other_rules(bank: SkillBank) -> None:
    def names(rule: str, goal: str = "heat it") -> set[tuple[str, ...]]:
        wrong = context(bank, rule, wrong_rate=1.0)
        return {tuple(skill.name for skill in wrong.select(task, goal)) for task in TASKS}

    assert names("none") == {()}
    assert names("all") == {("basics", "cool", "put")}
    assert names("random") == {("basics", "cool"), ("basics", "put")}
    assert names("keyword") == {("basics", "cool"), ("basics", "put")}
    assert names("keyword", "cool it") == {("basics", "cool")}


def test_from_config_builds_the_builtin_bank() -> None:
    built = SkillContext.from_config(SkillsConfig(), kinds=["pick_two_obj_and_place"], seed=3)
    assert (built.bank.name, built.rule, built.seed) == ("alfworld", ByKind(), 3)
    assert pickle.loads(pickle.dumps(built)) == built


def test_from_config_reads_a_directory(directory: Path) -> None:
    config = SkillsConfig(bank=str(directory), retrieval=RandomKind(), detail=Detail.SUMMARY, wrong_rate=0.5)
    built = SkillContext.from_config(config)
    assert (built.bank.name, built.detail, built.wrong_rate) == ("small", Detail.SUMMARY, 0.5)


def test_an_unknown_bank_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'alfworld'"):
        SkillContext.from_config(SkillsConfig(bank="alfworl"))


def test_kind_without_skills_fails_at_the_start(directory: Path) -> None:
    with pytest.raises(ConfigError, match="no skill for task kind 'fry'"):
        SkillContext.from_config(SkillsConfig(bank=str(directory)), kinds=["heat", "fry"])
    assert SkillContext.from_config(SkillsConfig(bank=str(directory), retrieval=Everything()), kinds=["fry"])


def test_wrong_rate_needs_two_kinds(bank: SkillBank, tmp_path: Path) -> None:
    SkillBank("one", bank.skills[:2]).save(tmp_path / "one")
    with pytest.raises(ConfigError, match="two task kinds; 'one' has 1"):
        SkillContext.from_config(SkillsConfig(bank=str(tmp_path / "one"), wrong_rate=0.1))


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_wrong_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        SkillsConfig(wrong_rate=rate)


WORDED = SkillBank(
    "worded",
    (
        Skill("basics", "", "look once.", "Look.", (), ("see once.",), ("one look.",)),
        Skill("cool", "cool", "use the fridge.", "Fridge.", (), (), ("make it cold.",)),
        Skill(
            "heat",
            "heat",
            "use the microwave.",
            "Microwave.",
            (),
            ("warm it.", "make it hot."),
            ("no cold.",),
        ),
    ),
)


def shown(skills: SkillContext) -> str:
    return skills.section(skills.select(TASKS[0], "goal"))


def test_each_content_is_shown_in_place_of_the_skills() -> None:
    own = context(WORDED, detail=Detail.SUMMARY)
    assert shown(own) == shown(own.showing(Content.RIGHT)) == f"{HEADING}\nlook once.\nuse the microwave."
    assert shown(own.showing(Content.RIGHT, 1)) == f"{HEADING}\nsee once.\nwarm it."
    assert shown(own.showing(Content.RIGHT, 2)) == f"{HEADING}\nlook once.\nmake it hot."
    assert shown(own.showing(Content.REWORDED)) == f"{HEADING}\none look.\nno cold."
    assert shown(own.showing(Content.WRONG)) == f"{HEADING}\nlook once.\nuse the fridge."
    assert shown(own.showing(Content.JUNK)).removeprefix(f"{HEADING}\n") in junk.HELD_OUT
    assert shown(own.showing(Content.JUNK, 13)) == f"{HEADING}\n{junk.SHOWN[1]}"
    assert not set(junk.SHOWN) & set(junk.HELD_OUT)


def test_held_out_words_and_wrong_skills_need_some() -> None:
    short = context(WORDED, detail=Detail.SUMMARY)
    assert short.contents({"heat"}) == tuple(Content)
    assert Content.REWORDED not in context(WORDED).contents({"heat"})
    bare = replace(WORDED, skills=(WORDED.skills[0], Skill("heat", "heat", "warm it.", "Warm.")))
    assert context(bare, detail=Detail.SUMMARY).contents({"heat"}) == (Content.RIGHT, Content.JUNK)


@pytest.mark.parametrize(
    ("bank", "kinds"),
    [
        ("alfworld", SkillBank.load("alfworld").kinds),
        ("search_qa", ("lookup", "bridge", "chain", "compare")),
        ("webshop", SkillBank.load("webshop").kinds),
    ],
)
def test_the_built_in_banks_say_each_skill_of_generated_tasks_in_four_ways(
    bank: str, kinds: tuple[str, ...]
) -> None:
    skills = SkillBank.load(bank)
    for skill in [*skills.general, *(skill for kind in kinds for skill in skills.of_kind(kind))]:
        texts = (skill.summary, *skill.wordings, *skill.held_out)
        assert len(set(texts)) == 4
        assert len(skill.held_out) == 1
        for text in texts:
            assert 0.5 < len(text.split()) / len(skill.summary.split()) < 2, skill.name
            assert re.fullmatch(r"[a-z0-9 ,.:'-]+", text), text
