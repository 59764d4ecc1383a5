from collections import Counter

import pytest

from sdar.errors import ConfigError
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.retrieval import draw, keyword, retrievals, uniform
from sdar.types import Task

HEAT = Task("train/1", "heat")


def names(bank: SkillBank, rule: str, task: Task = HEAT, goal: str = "", seed: int = 0) -> list[str]:
    return [skill.name for skill in retrievals[rule](bank, task, goal, seed)]


def test_registered_rules() -> None:
    assert list(retrievals) == ["all", "by-kind", "keyword", "none", "random"]


def test_by_kind_is_general_and_the_kind(bank: SkillBank) -> None:
    assert names(bank, "by-kind") == ["basics", "heat"]
    assert names(bank, "by-kind", Task("x", "put")) == ["basics", "put"]


def test_by_kind_without_a_skill_raises(bank: SkillBank) -> None:
    with pytest.raises(ConfigError, match="'small' has no skill for task kind 'coool': did you mean 'cool'"):
        names(bank, "by-kind", Task("x", "coool"))


def test_all_and_none(bank: SkillBank) -> None:
    assert names(bank, "all") == ["basics", "cool", "heat", "put"]
    assert names(bank, "none") == []


@pytest.mark.parametrize(
    ("goal", "found"),
    [
        ("Heat some egg", ["heat"]),
        ("put a HOT, clean egg away", ["heat"]),
        ("stand at the fridge  door", ["cool"]),
        ("cool it, then heat it", ["cool", "heat"]),
        ("put a shot of cooler heather in the fridge", ["put"]),
        ("", ["put"]),
    ],
)
def test_keyword_matches_whole_words_only(bank: SkillBank, goal: str, found: list[str]) -> None:
    assert names(bank, "keyword", Task("x", "irrelevant"), goal) == ["basics", *found]


def test_keyword_without_stand_in_is_general_only() -> None:
    bank = SkillBank("b", (Skill("g", "", "s", "t"), Skill("cpp", "c", "s", "t", ("c++",))))
    assert [s.name for s in keyword(bank, HEAT, "write c", 0)] == ["g"]
    assert [s.name for s in keyword(bank, HEAT, "write c++ now", 0)] == ["g", "cpp"]


def test_random_covers_all_kinds_and_repeats(bank: SkillBank) -> None:
    tasks = [Task(f"train/{i}", "heat") for i in range(300)]
    drawn = [tuple(names(bank, "random", task)) for task in tasks]
    assert drawn == [tuple(names(bank, "random", task)) for task in tasks]
    assert drawn != [tuple(names(bank, "random", task, seed=1)) for task in tasks]
    counts = Counter(drawn)
    assert set(counts) == {("basics", "cool"), ("basics", "heat"), ("basics", "put")}
    assert min(counts.values()) > 70


def test_random_needs_a_kind() -> None:
    with pytest.raises(ConfigError, match="no task kind"):
        names(SkillBank("b", (Skill("g", "", "s", "t"),)), "random")


def test_draws_are_pinned_and_uniform() -> None:
    """The number is part of what a run means: it must not change between versions or machines."""
    assert uniform("wrong", 0, "train/1") == 0.6624944714736651
    values = [uniform(i) for i in range(2000)]
    assert all(0 <= value < 1 for value in values)
    assert sum(values) / 2000 == pytest.approx(0.5, abs=0.02)
    assert {draw("ab", i) for i in range(20)} == {"a", "b"}
