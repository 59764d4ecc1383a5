"""The built-in bank has skills for every kind of question, in the words of the generated game."""

import re

import pytest

from sdar.envs.search_qa.questions import SETS
from sdar.envs.search_qa.spec import SearchQASpec
from sdar.envs.search_qa.worlds import KINDS
from sdar.skills.bank import SkillBank
from sdar.skills.context import Detail, SkillContext, SkillsConfig
from sdar.skills.retrieval import ByKind, Keyword, Query
from sdar.types import Task


@pytest.fixture(scope="module")
def bank():
    return SkillBank.load("search_qa", (*KINDS, *SETS))


def test_one_general_file_and_one_for_each_kind(bank):
    assert [skill.name for skill in bank.skills] == ["general", *sorted((*KINDS, *SETS))]
    assert set(bank.kinds) == {*KINDS, *SETS}


def test_summaries_are_short_and_lower_case(bank):
    for skill in bank.skills:
        low, high = (25, 40) if skill.is_general else (20, 36)
        assert low <= len(skill.summary.split()) <= high, skill.name
        assert re.fullmatch(r"[a-z0-9 ,.]+", skill.summary), skill.name


def test_texts_are_numbered_and_fit_a_prompt(bank):
    for skill in bank.skills:
        numbers = [int(line.split(".")[0]) for line in skill.text.splitlines()]
        assert numbers == list(range(1, len(numbers) + 1)), skill.name
        assert len(skill.text) < 2_000


def test_every_task_gets_the_skills_of_its_kind(bank):
    context = SkillContext.from_config(SkillsConfig(bank="search_qa"), {*KINDS, *SETS})
    for task in SearchQASpec().tasks("train")[:8]:
        assert [skill.name for skill in context.select(task, "")] == ["general", task.kind]
    for name in SETS:
        assert [skill.name for skill in ByKind().select(Query(bank, Task("x", name), ""))] == [
            "general",
            name,
        ]


def test_keywords_tell_generated_kinds_apart(bank):
    hits = total = 0
    for task in SearchQASpec().tasks("train")[:200]:
        goal = task.payload.puzzle().question.text
        named = {skill.name for skill in Keyword().select(Query(bank, task, goal))}
        hits += task.kind in named
        total += 1
        assert ("compare" in named) == (task.kind == "compare"), goal
    assert hits == total


def test_a_small_model_reads_the_summaries(bank):
    context = SkillContext(bank, ByKind(), Detail.SUMMARY)
    section = context.section(context.select(Task("x", "chain"), ""))
    assert section.count("\n") == 2
    assert len(section.split()) < 90
