"""Stages between rollout and learning."""

import pytest

from sdar.errors import ConfigError
from sdar.rollout.stages import Tools, run_stages
from sdar.trainer.settings import TrainConfig
from sdar.types import (
    Completion,
    ContextMode,
    EndReason,
    Group,
    Observation,
    StopReason,
    Task,
    Trajectory,
    Turn,
)


def group(name: str, *rewards: float) -> Group:
    task, empty = Task(name, "kind"), Completion((), (), StopReason.STOP)
    turns = [Turn(Observation(""), (), (), empty, "", "", reward, True) for reward in rewards]
    episodes = [
        Trajectory(task, i, ContextMode.WINDOW, (turn,), turn.reward > 0, EndReason.DONE)
        for i, turn in enumerate(turns)
    ]
    return Group(task, episodes)


ALL, NONE, MIXED = group("all", 1, 1), group("none", 0, 0), group("mixed", 0, 1)


def test_groups_without_spread_are_left_out() -> None:
    assert run_stages(["drop-equal"], [ALL, MIXED, NONE], Tools()) == [MIXED]
    assert run_stages(["drop-equal"], [ALL, NONE], Tools()) == [ALL, NONE], "a step learns from something"
    assert run_stages([], [ALL, MIXED], Tools()) == [ALL, MIXED]


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown stage 'drop-equals': did you mean 'drop-equal'"):
        TrainConfig(stages=("drop-equals",))
