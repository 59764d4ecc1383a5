"""Advantages worked out by hand."""

import math
from dataclasses import replace

import pytest

from sdar.errors import ConfigError
from sdar.objectives.advantages import AdvantageConfig, advantages, check_group_size, estimators
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

TASK = Task("train/0", "heat")


def trajectory(reward: float, valid: str) -> Trajectory:
    """An episode with one turn per letter, `v` valid and `x` not, and its reward on the last turn."""
    completion = Completion((1,), (-0.1,), StopReason.STOP)
    turns = tuple(
        Turn(
            observation=Observation(""),
            messages=(),
            prompt=(),
            completion=completion,
            text="",
            action="",
            reward=reward if i == len(valid) - 1 else 0.0,
            valid=letter == "v",
        )
        for i, letter in enumerate(valid)
    )
    return Trajectory(TASK, 0, ContextMode.WINDOW, turns, reward > 0, EndReason.DONE)


def of(*trajectories: Trajectory, **settings: object) -> list[tuple[float, ...]]:
    return advantages([Group(TASK, trajectories)], AdvantageConfig(**settings))


def flat(rows: list[tuple[float, ...]]) -> list[float]:
    return [value for row in rows for value in row]


def test_episode_statistics_by_hand() -> None:
    # returns 10, 0 and 0 - 0.2 = -0.2: mean 49/15, unbiased variance 34.013333
    rows = of(trajectory(10, "vv"), trajectory(0, "v"), trajectory(0, "xvx"))
    assert [len(row) for row in rows] == [2, 1, 3]
    mean, std = 9.8 / 3, math.sqrt(((10 - 9.8 / 3) ** 2 + (9.8 / 3) ** 2 + (0.2 + 9.8 / 3) ** 2) / 2)
    expected = [(score - mean) / (std + 1e-6) for score in (10, 10, 0, -0.2, -0.2, -0.2)]
    assert flat(rows) == pytest.approx(expected)
    assert expected[0] == pytest.approx(1.1546, abs=1e-3)


def test_turn_statistics_weigh_long_episodes_more_and_charge_each_turn_its_own_penalty() -> None:
    # turn samples 1, then 0, -0.5, 0: mean 0.125, unbiased variance 1.1875 / 3
    rows = of(trajectory(1, "v"), trajectory(0, "vxv"), statistics="turn", invalid_penalty=0.5)
    std = math.sqrt(1.1875 / 3)
    expected = [0.875 / std, -0.125 / std, -0.625 / std, -0.125 / std]
    assert [len(row) for row in rows] == [1, 3]
    assert flat(rows) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        ("group-std", [math.sqrt(3) / 2, math.sqrt(3) / 2, -math.sqrt(3) / 2, -math.sqrt(3) / 2]),
        ("group-mean", [0.5, 0.5, -0.5, -0.5]),
        ("leave-one-out", [2 / 3, 2 / 3, -2 / 3, -2 / 3]),
    ],
)
def test_estimators_by_hand(estimator: str, expected: list[float]) -> None:
    rows = of(*(trajectory(reward, "v") for reward in (1, 1, 0, 0)), estimator=estimator)
    assert flat(rows) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("estimator", list(estimators))
@pytest.mark.parametrize("reward", [0.0, 0.1, 10.0])
def test_equal_returns_and_single_trajectories_give_zero(estimator: str, reward: float) -> None:
    assert flat(of(*[trajectory(reward, "vv")] * 7, estimator=estimator)) == pytest.approx([0] * 14, abs=1e-8)
    assert flat(of(trajectory(reward, "vv"), estimator=estimator)) == [0, 0]


def walk(*steps: tuple[str, float, bool]) -> Trajectory:
    """An episode of (observation, reward, valid)."""
    plain = trajectory(0, "v" * len(steps))
    turns = tuple(
        replace(turn, observation=Observation(text), reward=reward, valid=valid)
        for turn, (text, reward, valid) in zip(plain.turns, steps, strict=True)
    )
    return replace(plain, turns=turns)


def test_gigpo_by_hand() -> None:
    """Two episodes of one task; A is met three times, once twice by the same one, and D by nobody else.

    Returns at discount 0.5:   first:  A 0 + 0.5 * 1 = 0.5,  B 0 + 0.5 * 2 = 1,  A 2
                               second: A 0 + 0.5 * 0 = 0,    B 0 - 0.1 (invalid),  D 0
    """
    first = walk(("A", 0.0, True), ("B", 0.0, True), ("A", 2.0, True))
    second = walk(("A", 0.0, True), ("B", 0.0, False), ("D", 0.0, True))
    settings = {"estimator": "group-mean", "invalid_penalty": 0.1, "discount": 0.5}
    rows = of(first, second, statistics="gigpo", step_weight=2.0, **settings)
    episode = (2.0 + 0.1) / 2  # returns 2 and -0.1
    mean_a, mean_b = (0.5 + 2.0 + 0.0) / 3, (1.0 - 0.1) / 2
    assert rows == [
        pytest.approx((episode + 2 * (0.5 - mean_a), episode + 2 * (1 - mean_b), episode + 2 * (2 - mean_a))),
        pytest.approx((-episode + 2 * (0 - mean_a), -episode + 2 * (-0.1 - mean_b), -episode)),
    ]
    assert of(first, second, statistics="gigpo", step_weight=0.0, **settings) == of(first, second, **settings)


def test_gigpo_divides_by_the_spread_of_each_anchor() -> None:
    group = [walk(("A", 1.0, True)), walk(("A", 0.0, True)), walk(("B", 0.0, True))]
    rows = flat(of(*group, statistics="gigpo", invalid_penalty=0.0))
    episode = [2 / math.sqrt(3), -1 / math.sqrt(3), -1 / math.sqrt(3)]  # mean 1/3, std 1/sqrt(3)
    turn = [math.sqrt(0.5), -math.sqrt(0.5), 0.0]
    assert rows == pytest.approx([a + b for a, b in zip(episode, turn, strict=True)], rel=1e-5)


def test_groups_are_compared_apart_and_kept_in_order() -> None:
    easy = Group(TASK, [trajectory(1, "v"), trajectory(0, "v")])
    hard = Group(TASK, [trajectory(0, "v"), trajectory(0, "vv")])
    rows = advantages([hard, easy], AdvantageConfig(estimator="group-mean"))
    assert rows == [(0.0,), (0.0, 0.0), (0.5,), (-0.5,)]


def test_an_episode_without_turns_counts_in_its_group_and_gets_nothing() -> None:
    assert of(trajectory(1, "v"), trajectory(0, ""), estimator="group-mean") == [(0.5,), ()]
    assert of(trajectory(1, "v"), trajectory(0, ""), statistics="turn", estimator="group-mean") == [
        (0.0,),
        (),
    ]
    assert of(trajectory(1, "v"), trajectory(0, ""), statistics="gigpo", estimator="group-mean") == [
        (0.5,),
        (),
    ]
    assert of() == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": "group-sdt"}, "did you mean 'group-std'"),
        ({"statistics": "turns"}, "did you mean 'turn'"),
        ({"estimator": "leave-one-out", "statistics": "turn"}, "needs statistics 'episode'"),
        ({"step_weight": -1.0}, "step_weight must be 0 or more"),
        ({"discount": 1.5}, "discount must be between 0 and 1"),
        ({"invalid_penalty": -1.0}, "invalid_penalty must be 0 or more"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdvantageConfig(**settings)


def test_a_group_of_one_is_refused() -> None:
    check_group_size(AdvantageConfig(), 2)
    with pytest.raises(ConfigError, match="'group-std' needs a group size of at least 2, not 1"):
        check_group_size(AdvantageConfig(), 1)
