import math
from dataclasses import replace

import pytest
import torch

from sdar.objectives.base import Stream
from sdar.ops.reduce import WeightedSum
from sdar.rollout.samples import Sample, SampleReport, ViewReport
from sdar.trainer.batch import Batch
from sdar.trainer.distributed import World
from sdar.trainer.metrics import episode_gaps, rollout_metrics, score_metrics, teacher_metrics
from sdar.trainer.step import Learned
from sdar.trainer.tally import Clock, Tally
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


def pair(total: float, weight: float) -> WeightedSum:
    return WeightedSum(torch.tensor(total), torch.tensor(weight))


def turn(reward: float = 0.0, valid: bool = True, logps: tuple[float, ...] = (-1.0,)) -> Turn:
    completion = Completion((1,) * len(logps), logps, StopReason.STOP)
    return Turn(Observation(""), (), (1,), completion, "", "", reward, valid)


def episode(
    task: Task, turns: list[Turn], success: bool = False, end: EndReason = EndReason.DONE
) -> Trajectory:
    return Trajectory(task, 0, ContextMode.WINDOW, tuple(turns), success, end)


def test_a_tally_is_the_exact_mean_however_it_is_cut(world: World) -> None:
    whole, cut, rest = Tally(), Tally(), Tally()
    whole.add({"a": pair(6.0, 4.0), "b": pair(1.0, 1.0), "none": pair(0.0, 0.0)})
    cut.add({"a": pair(1.0, 3.0)})
    rest.add({"a": pair(5.0, 1.0), "b": pair(1.0, 1.0)})
    cut.merge(rest)
    assert whole.values(world) == cut.values(world) == {"a": 1.5, "b": 1.0}
    assert Tally().values(world) == {}


def test_a_tally_does_not_lose_small_numbers() -> None:
    tally = Tally()
    tally.add({"a": pair(2.0**25, 1.0)})
    tally.add({"a": pair(1.0, 0.0)})
    assert tally.values(None) == {"a": 2.0**25 + 1}


def test_a_clock_adds_up_phases() -> None:
    clock = Clock()
    for _ in range(2):
        with clock.phase("train"):
            pass
    assert clock.seconds.keys() == {"time/train_s"}
    assert 0 < clock.seconds["time/train_s"] < 1


def test_rollout_metrics() -> None:
    heat, cool = Task("0", "heat"), Task("1", "cool")
    groups = [
        Group(heat, [episode(heat, [turn(), turn(10.0)], True), episode(heat, [turn(valid=False)])]),
        Group(cool, [episode(cool, [turn(logps=(-3.0, -3.0))], end=EndReason.MAX_TURNS)]),
    ]
    assert rollout_metrics(groups, overlong=2) == {
        "rollout/success": pytest.approx(1 / 3),
        "rollout/success/heat": 0.5,
        "rollout/success/cool": 0.0,
        "rollout/reward": pytest.approx(10 / 3),
        "rollout/turns": pytest.approx(4 / 3),
        "rollout/invalid": 0.25,
        "rollout/truncated": pytest.approx(1 / 3),
        "rollout/mixed_groups": 0.5,
        "rollout/entropy": pytest.approx(9 / 5),
        "rollout/tokens": 5.0,
        "rollout/episodes": 3.0,
        "rollout/overlong": 2.0,
    }


def test_metrics_of_the_environment_are_sums_over_turns_and_means_over_episodes() -> None:
    task = Task("0", "nq")
    search = replace(turn(), metrics={"searches": 1.0, "f1": 0.0})
    answer = replace(turn(), metrics={"f1": 0.5})
    found = rollout_metrics([Group(task, [episode(task, [search, search, answer]), episode(task, [turn()])])])
    assert (found["rollout/searches"], found["rollout/f1"]) == (1.0, 0.25)


def test_skills_and_views_are_counted() -> None:
    views = (ViewReport("skills", 70, 1, 2), ViewReport("future", 90))
    report = SampleReport(("a", "b", "b"), (("x",), ("x", "y"), ()), views)
    assert teacher_metrics(report) == {
        "teacher/prompt_tokens": 70.0,
        "teacher/overflow": 1.0,
        "teacher/absent": 2.0,
        "teacher/future/prompt_tokens": 90.0,
        "teacher/future/overflow": 0.0,
        "teacher/future/absent": 0.0,
        "skills/x": 2.0,
        "skills/y": 1.0,
    }


def batch() -> Batch:
    shapes = [(0, 2, (9,)), (1, 1, ()), (0, 1, (9,))]
    samples = [
        Sample((1,), (1,) * count, (True,) * count, (-1.0,) * count, (0,) * count, trajectory, teacher)
        for trajectory, count, teacher in shapes
    ]
    made = Batch.build(samples, [(0.5,), (-0.5,)], torch.device("cpu"))
    made.streams[Stream.OLD] = made.rollout_M
    made.streams[Stream.TEACHER] = torch.tensor([-0.5, -2.0, 0.0, -0.25])
    return made


LIVE = torch.tensor([-1.0, -1.5, -7.0, -9.0])


def test_mismatch_is_that_of_the_first_mini_batch() -> None:
    metrics = score_metrics(batch(), Learned({}, LIVE, [0]))
    assert metrics["mismatch/mean"] == 0.25
    assert metrics["mismatch/max"] == 0.5
    assert metrics["mismatch/kl"] == pytest.approx((2.718281828**-0.5 - 1 + 0.5) / 2)
    assert metrics["batch/samples"] == 3.0
    assert metrics["batch/tokens"] == 7.0
    assert metrics["batch/policy_tokens"] == 4.0


def test_the_gap_is_over_tokens_that_have_a_teacher() -> None:
    metrics = score_metrics(batch(), Learned({}, LIVE, [0]))
    assert metrics["teacher/gap_start"] == pytest.approx((0.5 - 1.0 + 0.75) / 3)
    assert metrics["teacher/positive"] == pytest.approx(2 / 3)


def test_the_gap_of_an_episode_is_a_mean_over_its_tokens_with_a_teacher() -> None:
    taught, untaught = episode_gaps(batch(), Learned({}, LIVE, [0]), 2)
    assert taught == pytest.approx((0.5 - 0.5 + 8.75) / 3)
    assert math.isnan(untaught)
    without = batch()
    del without.streams[Stream.TEACHER]
    assert all(map(math.isnan, episode_gaps(without, Learned({}, LIVE, [0]), 2)))
