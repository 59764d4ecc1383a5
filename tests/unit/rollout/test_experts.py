"""Reference rows: experts on a panel."""

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.rollout.experts import ExpertCollector
from sdar.types import EndReason


def successes(name: str, seed: int = 0, **settings) -> list[list[bool]]:
    spec = AlfworldSpec(max_turns=20, **settings)
    tasks = spec.panel("generated-compact-128").tasks[:12]
    groups = ExpertCollector(spec, name).collect(tasks, 2, seed)
    assert [group.task.id for group in groups] == [task.id for task in tasks]
    assert all([t.index for t in group.trajectories] == [0, 1] for group in groups)
    return [[t.success for t in group.trajectories] for group in groups]


def test_the_planner_wins_and_random_play_does_not():
    assert all(map(all, successes("planner")))
    assert not any(map(all, successes("random")))


def test_episodes_follow_from_the_seed():
    spec = AlfworldSpec(max_turns=5)
    tasks = spec.tasks("train")[:3]

    def actions(seed: int) -> list[str]:
        groups = ExpertCollector(spec, "random").collect(tasks, 1, seed)
        return [turn.action for group in groups for turn in group.trajectories[0].turns]

    assert actions(0) == actions(0) != actions(1)


def test_ends_and_progress():
    spec, told = AlfworldSpec(max_turns=2), []
    tasks = spec.tasks("train")[:3]
    groups = ExpertCollector(spec, "random").collect(
        tasks, 1, 0, on_progress=lambda *seen: told.append(seen[:2])
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert {group.trajectories[0].end for group in groups} == {EndReason.MAX_TURNS}
    assert all(len(group.trajectories[0].turns) == 2 for group in groups)
