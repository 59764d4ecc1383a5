"""From the returns of a group's trajectories to one advantage per turn.

An estimator compares the scores of samples that attempt the same task. With `episode` statistics a sample is
a trajectory and its advantage goes to all its turns; with `turn` statistics, the published code's, every turn
is a sample of its own, so that long episodes weigh more in the group's mean and spread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from sdar.errors import ConfigError, suggest
from sdar.registry import Registry
from sdar.types import Group, Trajectory

EPSILON = 1e-6
"""Added to the standard deviation before dividing by it, as in the published code."""

Statistics = Literal["episode", "turn"]
Estimator = Callable[[np.ndarray], np.ndarray]
"""Scores of the samples of one group -> their advantages."""

estimators: Registry[Estimator] = Registry("advantage estimator")


@estimators.register("group-std")
def group_std(scores: np.ndarray) -> np.ndarray:
    """(score - mean) / (std + 1e-6) with the unbiased std. Source: GRPO, arXiv 2402.03300.

    A single sample has no spread and gets 0; the published code gives it its raw score.

    >>> group_std(np.array([0.0, 1.0])).round(4).tolist()
    [-0.7071, 0.7071]
    """
    if len(scores) < 2:
        return np.zeros_like(scores)
    return (scores - scores.mean()) / (scores.std(ddof=1) + EPSILON)


@estimators.register("group-mean")
def group_mean(scores: np.ndarray) -> np.ndarray:
    """The score less the mean, not divided by the spread. Source: Dr. GRPO, arXiv 2503.20783.

    >>> group_mean(np.array([0.0, 1.0])).tolist()
    [-0.5, 0.5]
    """
    return scores - scores.mean()


@estimators.register("leave-one-out")
def leave_one_out(scores: np.ndarray) -> np.ndarray:
    """The score less the mean of the others: an unbiased baseline. Source: RLOO, arXiv 2402.14740.

    >>> leave_one_out(np.array([0.0, 1.0, 2.0])).tolist()
    [-1.5, 0.0, 1.5]
    """
    return group_mean(scores) * len(scores) / max(len(scores) - 1, 1)


@dataclass(frozen=True, kw_only=True)
class AdvantageConfig:
    """How returns become advantages."""

    estimator: str = "group-std"
    """How a score is compared with its group: group-std, group-mean or leave-one-out."""
    statistics: Statistics = "episode"
    """Whether a sample of the group is an episode or a turn."""
    invalid_penalty: float = 0.1
    """Taken off the score for each action whose text did not have the required form."""

    def __post_init__(self) -> None:
        estimators[self.estimator]
        if self.statistics not in get_args(Statistics):
            hint = suggest(self.statistics, get_args(Statistics))
            raise ConfigError(f"unknown advantage statistics '{self.statistics}': {hint}")
        if self.estimator == "leave-one-out" and self.statistics == "turn":
            raise ConfigError(
                "estimator 'leave-one-out' needs statistics 'episode': turns share their return"
            )
        if not 0 <= self.invalid_penalty < float("inf"):
            raise ConfigError(f"invalid_penalty must be 0 or more, not {self.invalid_penalty}")


def check_group_size(config: AdvantageConfig, size: int) -> None:
    """Raise `ConfigError` for a group size at which every advantage is 0."""
    if size < 2:
        raise ConfigError(f"estimator '{config.estimator}' needs a group size of at least 2, not {size}")


def advantages(groups: Sequence[Group], config: AdvantageConfig) -> list[tuple[float, ...]]:
    """One number per turn for every trajectory, in the order of groups and of trajectories in them."""
    return [turns for group in groups for turns in _group_advantages(group.trajectories, config)]


def _group_advantages(trajectories: Sequence[Trajectory], config: AdvantageConfig) -> list[tuple[float, ...]]:
    """Score the samples of a group, compare them, and give each turn its sample's advantage."""
    estimate, penalty = estimators[config.estimator], config.invalid_penalty
    if config.statistics == "episode":
        scores = [trajectory.reward - penalty * trajectory.num_invalid for trajectory in trajectories]
        values = estimate(np.array(scores)).tolist() if scores else []
        return [(value,) * len(t.turns) for value, t in zip(values, trajectories, strict=True)]
    scores = [t.reward - penalty * (not turn.valid) for t in trajectories for turn in t.turns]
    rest = iter(estimate(np.array(scores)).tolist() if scores else [])
    return [tuple(next(rest) for _ in t.turns) for t in trajectories]
