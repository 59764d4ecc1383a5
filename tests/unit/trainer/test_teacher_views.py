"""Several teacher views in one run: each is scored as if it were the only one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from tests.runs import tiny_trainer

from sdar.objectives.base import LossInputs, LossOutput, Objective, Stream
from sdar.rollout.stages import Tools, stages
from sdar.rollout.views import Note, TeacherContext, View, views
from sdar.runs.rundir import read_metrics, read_trajectories
from sdar.trainer.distributed import World
from sdar.trainer.settings import OptimConfig
from sdar.trainer.teachers import Live, StartOfStep, TeacherConfig
from sdar.types import Group


@dataclass(frozen=True, kw_only=True)
class Watch(Objective):
    """Keeps what it is given."""

    seen: list[LossInputs] = field(default_factory=list)

    @property
    def needs(self) -> frozenset[Stream]:
        return frozenset({Stream.TEACHER})

    def loss(self, x: LossInputs) -> LossOutput:
        self.seen.append(x)
        return LossOutput(self.reduce(-x.logp_BT, x), {})


def watch(
    path: Path, world: World, teacher: TeacherConfig, names: tuple[str, ...]
) -> tuple[list[LossInputs], list[str]]:
    """The batches of a step of two updates with these views, and the names of the metrics."""
    objective = Watch()
    optim = OptimConfig(lr=1e-2, mini_batch=4)
    trainer = tiny_trainer(
        path, world, steps=1, objective=objective, views=names, teacher=teacher, optim=optim
    )
    trainer.train()
    return objective.seen, list(read_metrics(trainer.run)[-1])


def even(context: TeacherContext) -> Note | None:
    """Tells half of the episodes something."""
    return Note("go on") if context.trajectory.index % 2 == 0 else None


@pytest.mark.parametrize("teacher", [StartOfStep(), Live()])
def test_each_view_is_scored_as_if_it_were_alone(
    teacher: TeacherConfig, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(views._table, "even", View(even, frozenset()))
    both, metrics = watch(tmp_path / "both", world, teacher, ("future", "even"))
    assert {"teacher/prompt_tokens", "teacher/even/absent"} <= set(metrics)
    assert len(both) == 2
    for view, name in enumerate(("future", "even")):
        alone, _ = watch(tmp_path / name, world, teacher, (name,))
        for x, y in zip(both, alone, strict=True):
            torch.testing.assert_close(x.teacher(view)[0], y.teacher(0)[0])
            assert torch.equal(x.teacher(view)[1], y.teacher(0)[1])
    taught = torch.cat([x.teacher(1)[1][:, 0] for x in both])
    assert taught.sum() * 2 == len(taught)


def test_what_further_teachers_saw_is_kept(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(views._table, "even", View(even, frozenset()))
    trainer = tiny_trainer(tmp_path / "run", world, steps=1, objective=Watch(), views=("future", "even"))
    trainer.train()
    records = read_trajectories(trainer.run, 1)
    assert {record["index"] % 2 for record in records} == {0, 1}
    for record in records:
        for number, turn in enumerate(record["turns"]):
            told = record["index"] % 2 == 0
            assert all((gap is not None) == told for gap in turn["gap/even"])
            assert ("views" in turn) == (told and (number == 0 or record["context"] == "window"))
            if "views" in turn:
                at, cut, text = (turn["views"]["even"][name] for name in ("at", "cut", "text"))
                assert (cut, text.strip()) == (0, "go on")
                assert turn["prompt"][:at] + text + turn["prompt"][at:] != turn["teacher_prompt"]


def test_a_stage_decides_what_is_learned_from_and_what_views_can_tell(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reflect(groups: Sequence[Group], tools: Tools) -> list[Group]:
        """The first group only; each episode is told its own number."""
        told = [replace(t, facts={"note": f"episode {t.index}"}) for t in groups[0].trajectories]
        return [Group(groups[0].task, told)]

    def note(context: TeacherContext) -> Note:
        return Note(context.trajectory.facts["note"])

    monkeypatch.setitem(stages._table, "reflect", reflect)
    monkeypatch.setitem(views._table, "note", View(note, frozenset()))
    trainer = tiny_trainer(
        tmp_path / "run", world, steps=1, objective=Watch(), views=("note",), stages=("reflect",)
    )
    trainer.train()
    metrics, size = read_metrics(trainer.run)[-1], trainer.collector.config.group_size
    assert metrics["rollout/episodes"] == size * trainer.collector.config.tasks_per_step
    records = list(read_trajectories(trainer.run, 1))
    assert len(records) == size
    for number, record in enumerate(records):
        assert f"episode {number}" in record["turns"][0]["teacher_prompt"]
