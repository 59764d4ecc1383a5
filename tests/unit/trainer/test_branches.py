"""Playing on from a state that was reached, and what OVCSD learns of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runs import LooseSpec, tiny_trainer

from sdar.errors import ConfigError, DataError
from sdar.objectives.grpo import GRPO
from sdar.objectives.ovcsd import OVCSD, First
from sdar.rollout.settings import RolloutConfig
from sdar.rollout.stages import Tools, stages
from sdar.runs.rundir import read_metrics
from sdar.trainer.distributed import World
from sdar.trainer.loop import Trainer
from sdar.types import ContextMode, Group, Observation, Place, Task, Trajectory


def ovcsd(tmp_path: Path, world: World, context: ContextMode) -> Trainer:
    rollout = RolloutConfig(tasks_per_step=4, group_size=2, max_tokens=6, context=context)
    return tiny_trainer(
        tmp_path / "run", world, steps=2, objective=OVCSD(), rollout=rollout, spec=LooseSpec(max_turns=4)
    )


def long_one(groups: Sequence[Group]) -> Trajectory:
    return next(e for group in groups for e in group.trajectories if len(e.turns) > 2)


@pytest.mark.parametrize("context", ContextMode)
def test_a_branch_shares_the_past_and_reads_the_note(
    context: ContextMode, world: World, tmp_path: Path
) -> None:
    trainer = ovcsd(tmp_path, world, context)
    episode = long_one(trainer._collect(1)[0])
    place = Place(episode, 2, "Go left.")
    one, other = trainer.collector.play_on([(place, 7), (place, 8)], 0)
    [same] = trainer.collector.play_on([(place, 7)], 0)
    assert [turn.text for turn in one.turns] == [turn.text for turn in same.turns], (
        "what is random follows from the number"
    )
    assert [turn.text for turn in one.turns[:2]] == [turn.text for turn in episode.turns[:2]]
    assert one.turns[2].observation == episode.turns[2].observation == other.turns[2].observation
    prompts = one.turns[0].messages if context is ContextMode.TRANSCRIPT else one.turns[2].messages
    assert prompts[0].content.startswith("Go left.\n\n")


def test_an_environment_that_does_not_repeat_itself_is_named(world: World, tmp_path: Path) -> None:
    trainer = ovcsd(tmp_path, world, ContextMode.WINDOW)
    episode = long_one(trainer._collect(1)[0])
    moved = replace(episode.turns[2], observation=Observation("elsewhere"))
    wrong = replace(episode, turns=(*episode.turns[:2], moved, *episode.turns[3:]))
    with pytest.raises(DataError, match="comes to another place"):
        trainer.collector.play_on([(Place(wrong, 2), 7)], 0)


def test_verified_branches_become_a_comparison_and_a_suffix(world: World, tmp_path: Path) -> None:
    trainer = ovcsd(tmp_path, world, ContextMode.WINDOW)
    groups = trainer._collect(1)[0]
    long = long_one(groups)
    lost = replace(long, success=False)
    group = Group(lost.task, [lost, replace(lost, index=1)])
    other = replace(lost, task=Task("other", "left"))
    won = Group(other.task, [other, replace(other, index=1, success=True)])
    asked: list[Place] = []

    def play_on(places: Sequence[Place]) -> list[Trajectory]:
        """Each second try succeeds, by another action in the second turn."""
        asked.extend(places)
        turns = (long.turns[0], replace(long.turns[1], action="jump"), *long.turns[2:])
        return [replace(long, turns=turns, success=bool(i % 2)) for i, _ in enumerate(places)]

    tools = Tools(bank=trainer.skills, play_on=play_on, settings=vars(OVCSD()))
    found, untouched = stages["verify-branches"]([group, won], tools)
    assert not untouched.extras
    assert {place.trajectory.task.id for place in asked} == {lost.task.id}
    assert asked[0].turn == len(long.turns) - 1, "the latest state that both reached"
    assert all(place.note for place in asked)
    fork = [extra for extra in found.extras if extra.adv is not None]
    assert {(extra.at.turn, extra.adv) for extra in fork} == {(1, 1.0), (1, -1.0)}
    rest = [extra for extra in found.extras if extra.adv is None]
    states = len({place.turn for place in asked})
    assert [extra.at.turn for extra in rest] == list(range(2, len(long.turns))) * states
    assert all(extra.teacher and extra.teacher.note and not extra.at.note for extra in rest)


def test_what_the_source_leaves_open_is_set(world: World, tmp_path: Path) -> None:
    trainer = ovcsd(tmp_path, world, ContextMode.WINDOW)
    lost = replace(long_one(trainer._collect(1)[0]), success=False)
    asked: list[Place] = []

    def play_on(places: Sequence[Place]) -> list[Trajectory]:
        asked.extend(places)
        turns = (replace(lost.turns[0], action="jump"), *lost.turns[1:])
        return [replace(lost, turns=turns, success=True) for _ in places]

    set_up = OVCSD(first=First.EARLIEST, states=1, tries=3, blame=0.5)
    tools = Tools(bank=trainer.skills, play_on=play_on, settings=vars(set_up))
    [found] = stages["verify-branches"]([Group(lost.task, [lost, replace(lost, index=1)])], tools)
    assert [place.turn for place in asked] == [0, 0, 0]
    assert [extra.adv for extra in found.extras if extra.adv is not None] == [1.0, -0.5], "one branch counts"
    with pytest.raises(ConfigError, match=r"a stage needs objective\.tries, which this objective does"):
        stages["verify-branches"]([], Tools(settings=vars(GRPO())))


def test_it_trains_on_branches(world: World, tmp_path: Path) -> None:
    trainer = ovcsd(tmp_path, world, ContextMode.TRANSCRIPT)
    assert trainer.train() == 2
    lines = read_metrics(trainer.run)[1:]
    assert any("ovcsd/distance" in line and line["extra/samples"] > 1 for line in lines)
    assert all(line["optim/skipped"] == 0 for line in lines)
