"""The examples of docs/teachers.md, as they stand there: each is registered and does what is said of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.runs import LooseSpec, tiny_trainer

from sdar.objectives import objectives
from sdar.objectives.agent_opsd import AgentOPSD
from sdar.objectives.base import Credit, StepInputs, Stream
from sdar.objectives.batches import random_inputs, random_step
from sdar.objectives.sdar import SDAR
from sdar.objectives.ucob import UCOB
from sdar.rollout.settings import RolloutConfig
from sdar.rollout.stages import stages
from sdar.rollout.views import views
from sdar.text.spans import Span
from sdar.trainer.distributed import World
from sdar.types import Group

PAGE = Path(__file__).parents[3] / "docs" / "teachers.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """What the page registers, for one test."""
    for registry in (views, stages, objectives):
        for known in registry:
            registry[known]  # what is found lazily is imported, so that it is kept
    tables = (views._table, stages._table, objectives._table)
    kept = [dict(table) for table in tables]
    for block in BLOCKS:
        if block.startswith("from "):
            exec(compile(block, str(PAGE), "exec"), {"__name__": "page"})
    yield
    for table, old in zip(tables, kept, strict=True):
        table.clear()
        table.update(old)


def step(path: Path, world: World, **settings: Any) -> tuple[dict[str, float], Any]:
    """The metrics of one step, and the trainer."""
    trainer = tiny_trainer(
        path / "run",
        world,
        steps=1,
        record=0,
        spec=LooseSpec(max_turns=4),
        rollout=RolloutConfig(tasks_per_step=4, group_size=4, max_tokens=6),
        **settings,
    )
    return trainer.step(1), trainer


def test_a_view_and_a_stage_that_writes(world: World, tmp_path: Path) -> None:
    metrics, trainer = step(tmp_path, world, objective=SDAR(), views=("goal", "why"), stages=("explain",))
    assert metrics["texts/length"] + metrics.get("texts/stop", 0) > 10, "one text an episode"
    assert metrics["teacher/prompt_tokens"] > 0
    assert metrics["teacher/why/prompt_tokens"] > 0
    assert trainer.run.texts_file.exists()


def test_a_stage_that_leaves_out_half(world: World, tmp_path: Path) -> None:
    metrics, _ = step(tmp_path, world, objective=SDAR(), stages=("first-half",))
    assert (metrics["rollout/episodes"], metrics["batch/samples"]) == (16, 8)


def test_extra_samples(world: World, tmp_path: Path) -> None:
    metrics, _ = step(tmp_path, world, objective=UCOB(share=1.0), stages=("without-skills",))
    assert 0 < metrics["extra/samples"] <= metrics["rollout/episodes"]


def test_playing_on(world: World, tmp_path: Path) -> None:
    _, trainer = step(tmp_path, world, objective=SDAR())
    played = trainer._collect(2)[0]
    trainer.config = replace(trainer.config, stages=("second-try",))
    tried = trainer._stage(played, 2)[0]
    before, after = successes(played), successes(tried)
    assert all(new or not old for old, new in zip(before, after, strict=True))
    assert sum(after) > sum(before), "some second try succeeds"


def successes(groups: Sequence[Group]) -> list[bool]:
    return [episode.success for group in groups for episode in group.trajectories]


def test_groups_half_of_which_see_skills(world: World, tmp_path: Path) -> None:
    metrics, trainer = step(tmp_path, world, objective=objectives["half-and-half"]())
    assert {"rollout/success_skilled", "rollout/success_plain"} <= metrics.keys()
    played = trainer._collect(1)[0]
    assert [e.skilled for e in played[0].trajectories] == [False, True, False, True]


def credits() -> Iterator[Any]:
    """The functions `credit` of the page."""
    for block in BLOCKS:
        if block.startswith("def credit"):
            names = {"Credit": Credit, "StepInputs": StepInputs, "Stream": Stream}
            exec(compile(block, str(PAGE), "exec"), names)
            yield names["credit"]


def test_actions_are_told_from_reasoning() -> None:
    (line,) = (block for block in BLOCKS if block.startswith("action_BT"))
    names = {"Stream": Stream, "Span": Span, "x": random_inputs(0)}
    exec(compile(line, str(PAGE), "exec"), names)
    assert torch.equal(names["action_BT"], names["x"].span_BT == 2)
    assert 0 < names["action_BT"].sum() < names["action_BT"].numel()


def test_what_credit_may_look_at() -> None:
    x = random_step(0)
    by_return, by_place = credits()
    found = by_return(AgentOPSD(), x).adv_M
    torch.testing.assert_close(found, x.adv_M * x.returns(0.95)[x.episode_M, x.turn_M])
    bonus_M = by_place(AgentOPSD(), x).adv_M - x.adv_M
    teacher_M, taught_M = x.teacher(1)
    for token in range(len(bonus_M)):
        episode, turn = int(x.episode_M[token]), int(x.turn_M[token])
        same = (x.anchor_EK == x.anchor_EK[episode, turn]) & (x.group_E == x.group_E[episode])[:, None]
        agrees = bool(taught_M[token]) and float(teacher_M[token]) > float(x.stream(Stream.OLD)[token])
        assert float(bonus_M[token]) == pytest.approx(0.1 * (agrees and int(same.sum()) > 1))
    assert bonus_M.any()
