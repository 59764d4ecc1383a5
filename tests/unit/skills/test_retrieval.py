import json
import math
from collections import Counter

import pytest

from sdar.errors import ConfigError
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.retrieval import (
    UCB,
    BySource,
    Keyword,
    KeywordPublished,
    Query,
    Retrieval,
    Returns,
    draw,
    retrievals,
    uniform,
)
from sdar.types import Task

HEAT = Task("train/1", "heat")


def names(bank: SkillBank, rule: str, task: Task = HEAT, goal: str = "", seed: int = 0) -> list[str]:
    return [skill.name for skill in retrievals[rule]().select(Query(bank, task, goal, seed))]


def test_registered_rules() -> None:
    assert list(retrievals) == [
        "all", "by-kind", "by-source", "embedding", "keyword", "keyword-published", "none", "random", "ucb"
    ]  # fmt: skip


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
    assert [s.name for s in Keyword().select(Query(bank, HEAT, "write c"))] == ["g"]
    assert [s.name for s in Keyword().select(Query(bank, HEAT, "write c++ now"))] == ["g", "cpp"]


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a SHOT of tea", ["heat"]),
        ("put the cooler in the fridge, reheated", ["cool", "heat"]),
        ("nothing", []),
        ("", []),
    ],
)
def test_published_keywords_match_inside_words_of_the_prompt(
    bank: SkillBank, prompt: str, found: list[str]
) -> None:
    query = Query(bank, Task("x", "heat"), "heat it", prompt=prompt)
    assert [skill.name for skill in KeywordPublished().select(query)] == ["basics", *found]


SEARCH_BANK = SkillBank(
    "s",
    (
        Skill("g", "", "s", "t"),
        *(
            Skill(kind, kind, "s", "t")
            for kind in ("compare", "direct_retrieval", "entity_attribute_lookup", "multi_hop_reasoning")
        ),
    ),
)


@pytest.mark.parametrize(
    ("source", "prompt", "found"),
    [
        ("popqa", "", ["entity_attribute_lookup"]),
        ("nq", "which one or the other", ["direct_retrieval"]),
        ("triviaqa", "", ["direct_retrieval"]),
        ("hotpotqa", "which one or the other", ["multi_hop_reasoning"]),
        ("musique", "Which one OR the other", ["compare"]),
        ("bamboogle", "which one or the other, for me", ["multi_hop_reasoning"]),
        ("2wikimultihopqa", "", ["multi_hop_reasoning"]),
        ("own", "which one or the other", ["compare"]),
        ("own", "who", []),
    ],
)
def test_by_source_is_the_published_table(source: str, prompt: str, found: list[str]) -> None:
    query = Query(SEARCH_BANK, Task("x", source), "", prompt=prompt)
    assert [skill.name for skill in BySource().select(query)] == ["g", *found]


def test_by_source_needs_the_published_kinds(bank: SkillBank) -> None:
    BySource().check(SEARCH_BANK, ["nq", "popqa", "own"])
    with pytest.raises(ConfigError, match="has no skill of kind 'direct_retrieval'"):
        BySource().check(bank, ["nq"])


def test_random_covers_all_kinds_and_repeats(bank: SkillBank) -> None:
    tasks = [Task(f"train/{i}", "heat") for i in range(300)]
    drawn = [tuple(names(bank, "random", task)) for task in tasks]
    assert drawn == [tuple(names(bank, "random", task)) for task in tasks]
    assert drawn != [tuple(names(bank, "random", task, seed=1)) for task in tasks]
    counts = Counter(drawn)
    assert set(counts) == {("basics", "cool"), ("basics", "heat"), ("basics", "put")}
    assert min(counts.values()) > 70


@pytest.mark.parametrize("rule", ["random", "embedding", "ucb"])
def test_rules_that_choose_need_something_to_choose_from(rule: str) -> None:
    with pytest.raises(ConfigError, match="no skill with a task kind"):
        retrievals[rule]().check(SkillBank("b", (Skill("g", "", "s", "t"),)), ())


@pytest.mark.parametrize("rule", list(retrievals))
def test_only_the_published_rules_see_more_than_task_and_returns(rule: str, bank: SkillBank) -> None:
    """The same question gets the same answer, and whatever the prompt says, but by the published rules."""
    assert set(Query.__dataclass_fields__) == {"bank", "task", "goal", "seed", "returns", "prompt"}
    made: Retrieval = retrievals[rule]()
    prompts = ("", "cool it", "which or hot") if rule not in ("keyword-published", "by-source") else ("hot",)
    query = Query(bank, HEAT, "heat the egg", 1, prompt=prompts[0])
    for prompt in prompts:
        assert made.select(query) == made.select(Query(bank, HEAT, "heat the egg", 1, prompt=prompt))
    assert set(made.select(query)) <= set(bank.skills)


def test_ucb_tries_every_skill_before_it_chooses(bank: SkillBank) -> None:
    returns, seen = Returns(), []
    for number in range(3):
        [general, chosen] = UCB().select(Query(bank, Task(f"t{number}", "heat"), "", 0, returns))
        assert general.name == "basics"
        seen.append(chosen.name)
        returns.observe("heat", ["basics", chosen.name], 0.0)
    assert sorted(seen) == ["cool", "heat", "put"]
    others = {UCB().select(Query(bank, Task(f"t{i}", "fry"), "", 0, returns))[1].name for i in range(40)}
    assert len(others) == 3, "another kind of task starts anew, and its tasks try different skills"


def test_ucb_takes_the_largest_bound(bank: SkillBank) -> None:
    returns = Returns()
    outcomes = {"cool": [0.0, 10.0], "heat": [10.0] * 6 + [0.0] * 2, "put": [0.0] * 4}
    for name, values in outcomes.items():
        for value in values:
            returns.observe("heat", [name], value)

    def chosen(c: float) -> str:
        return UCB(c=c).select(Query(bank, HEAT, "", 0, returns))[-1].name

    def bound(name: str, c: float) -> float:
        values = outcomes[name]
        return sum(values) / len(values) / 10 + c * math.sqrt(math.log(14) / len(values))

    for c in (0.0, 0.3, 1.0, 3.0):
        assert chosen(c) == max(outcomes, key=lambda name: bound(name, c))
    assert {chosen(0.0), chosen(3.0)} == {"heat", "cool"}


def test_ucb_does_not_depend_on_the_scale_of_rewards(bank: SkillBank) -> None:
    def chosen(scale: float) -> str:
        returns = Returns()
        for name, value in (("cool", 0.2), ("heat", 1.0), ("heat", -0.5), ("put", 0.1), ("put", 0.9)):
            returns.observe("heat", [name], scale * value)
        return UCB().select(Query(bank, HEAT, "", 0, returns))[-1].name

    assert chosen(1.0) == chosen(100.0) == chosen(0.01)


def test_returns_survive_a_file() -> None:
    returns = Returns()
    returns.observe("heat", ["a", "b"], -1.5)
    returns.observe("cool", ["a"], 3.0)
    again = Returns()
    again.load(json.loads(json.dumps(returns.state())))
    assert again == returns
    again.load({})
    assert again == Returns()


def test_bad_settings_are_refused() -> None:
    for settings in ({"c": -1.0}, {"c": math.nan}):
        with pytest.raises(ConfigError, match=r"retrieval\.c must not be negative"):
            UCB(**settings)


def test_draws_are_pinned_and_uniform() -> None:
    """The number is part of what a run means: it must not change between versions or machines."""
    assert uniform("wrong", 0, "train/1") == 0.6624944714736651
    values = [uniform(i) for i in range(2000)]
    assert all(0 <= value < 1 for value in values)
    assert sum(values) / 2000 == pytest.approx(0.5, abs=0.02)
    assert {draw("ab", i) for i in range(20)} == {"a", "b"}
