"""The skill bank: complete, short where it has to be, and true of the shop."""

import re

import pytest

from sdar.envs.webshop.shop import Shop
from sdar.envs.webshop.spec import WebshopSpec
from sdar.skills.bank import SkillBank
from sdar.skills.retrieval import Keyword, Query
from sdar.types import Task

KINDS = ("beauty", "electronics", "fashion", "garden", "grocery")


@pytest.fixture(scope="module")
def bank() -> SkillBank:
    return SkillBank.load("webshop", KINDS)


def test_one_general_file_and_one_for_each_department(bank):
    assert [skill.name for skill in bank.skills] == ["general", *KINDS]
    assert [skill.kind for skill in bank.skills] == ["", *KINDS]
    assert {task.kind for task in WebshopSpec(products=200).tasks("train")} == set(KINDS)


def test_summaries_are_short_and_plain(bank):
    for skill in bank.skills:
        assert re.fullmatch(r"[a-z ,.]+", skill.summary), skill.name
        assert len(skill.summary.split()) < 50, skill.name


def found(bank, kind, goal):
    return [skill.kind for skill in Keyword().select(Query(bank, Task("x", kind), goal)) if skill.kind]


def test_keywords_find_the_department_of_generated_goals(bank):
    goals = Shop("", 600).goals()
    wishes = {
        goals[place].text.partition(" with color")[0]: goals.product(place).kind
        for place in range(len(goals))
    }
    assert all(kind in found(bank, kind, text) for text, kind in wishes.items())


def test_keywords_find_the_department_of_most_real_goals(bank, shared_data):
    catalogue = Shop(str(shared_data / "webshop"), 1000).catalogue
    wished = [product for product in catalogue.products if product.instruction]
    hits = [product.kind in found(bank, product.kind, f"Find me {product.query}") for product in wished]
    assert sum(hits) / len(hits) > 0.9


def test_summaries_name_the_options_of_their_department(bank):
    for product in Shop("", 600).catalogue.products:
        (skill,) = bank.of_kind(product.kind)
        for name in product.options:
            word = name.removesuffix(" name").removeprefix("rug ").removeprefix("pillow ")
            assert word.replace("tea", "flavor") in skill.summary, (product.kind, name)
