"""From the returns of a group's trajectories to one advantage per turn.

An estimator compares the scores of samples; the statistics say what is compared: episodes of the task, turns,
or (GiGPO) episodes and beside them turns that began in the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sdar.errors import ConfigError
from sdar.settings.registry import Registry
from sdar.types import Group, Trajectory

if TYPE_CHECKING:
    import numpy as np

EPSILON = 1e-6
"""Added to the standard deviation before dividing by it, as in the published code."""

Estimator: TypeAlias = "Callable[[np.ndarray], np.ndarray]"
"""Scores of the samples of one group -> their advantages."""

estimators: Registry[Estimator] = Registry("advantage estimator")


@estimators.register("group-std")
def group_std(scores: np.ndarray) -> np.ndarray:
    """(score - mean) / (std + 1e-6) with the unbiased std. Source: GRPO, arXiv 2402.03300.

    A single sample has no spread and gets 0; the published code gives it its raw score.

    >>> import numpy as np
    >>> group_std(np.array([0.0, 1.0])).round(4).tolist()
    [-0.7071, 0.7071]
    """
    if len(scores) < 2:
        return 0.0 * scores
    return (scores - scores.mean()) / (scores.std(ddof=1) + EPSILON)


@estimators.register("group-mean")
def group_mean(scores: np.ndarray) -> np.ndarray:
    """The score less the mean, not divided by the spread. Source: Dr. GRPO, arXiv 2503.20783.

    >>> import numpy as np
    >>> group_mean(np.array([0.0, 1.0])).tolist()
    [-0.5, 0.5]
    """
    return scores - scores.mean()


@estimators.register("leave-one-out")
def leave_one_out(scores: np.ndarray) -> np.ndarray:
    """The score less the mean of the others: an unbiased baseline. Source: RLOO, arXiv 2402.14740.

    >>> import numpy as np
    >>> leave_one_out(np.array([0.0, 1.0, 2.0])).tolist()
    [-1.5, 0.0, 1.5]
    """
    return group_mean(scores) * len(scores) / max(len(scores) - 1, 1)


@dataclass(frozen=True, kw_only=True)
class AdvantageConfig:
    """How returns become advantages."""

    estimator: str = "group-std"
    """How a score is compared with its group: group-std, group-mean or leave-one-out."""
    statistics: str = "episode"
    """What is compared: episode, turn, gigpo, or gigpo-turn."""
    step_weight: float = 1.0
    """Weight of the turns' own advantage beside the episode's, with gigpo."""
    discount: float = 0.95
    """What a reward one turn later is worth in the returns of turns, with gigpo."""
    invalid_penalty: float = 0.1
    """Taken off the score for each action whose text did not have the required form."""

    def __post_init__(self) -> None:
        estimators[self.estimator]
        statistics[self.statistics]
        if self.estimator == "leave-one-out" and self.statistics in ("turn", "gigpo-turn"):
            raise ConfigError(
                "estimator 'leave-one-out' needs statistics 'episode': turns share their return"
            )
        if not 0 <= self.invalid_penalty < float("inf"):
            raise ConfigError(f"invalid_penalty must be 0 or more, not {self.invalid_penalty}")
        if not 0 <= self.step_weight < float("inf"):
            raise ConfigError(f"step_weight must be 0 or more, not {self.step_weight}")
        if not 0 <= self.discount <= 1:
            raise ConfigError(f"discount must be between 0 and 1, not {self.discount}")


def check_group_size(config: AdvantageConfig, size: int) -> None:
    """Raise `ConfigError` for a group size at which every advantage is 0."""
    if size < 2:
        raise ConfigError(f"estimator '{config.estimator}' needs a group size of at least 2, not {size}")


def advantages(groups: Sequence[Group], config: AdvantageConfig) -> list[tuple[float, ...]]:
    """One number per turn for every trajectory, in the order of groups and of trajectories in them."""
    return [turns for group in groups for turns in statistics[config.statistics](group.trajectories, config)]


Statistics: TypeAlias = "Callable[[Sequence[Trajectory], AdvantageConfig], list[tuple[float, ...]]]"
"""The trajectories of one group -> one number per turn of each."""

statistics: Registry[Statistics] = Registry("advantage statistics")


@statistics.register("episode")
def by_episode(trajectories: Sequence[Trajectory], config: AdvantageConfig) -> list[tuple[float, ...]]:
    """Episodes are compared by their return; all turns of one get its advantage."""
    scores = [
        trajectory.reward - config.invalid_penalty * trajectory.num_invalid for trajectory in trajectories
    ]
    values = _estimate(scores, config)
    return [(value,) * len(t.turns) for value, t in zip(values, trajectories, strict=True)]


@statistics.register("turn")
def by_turn(trajectories: Sequence[Trajectory], config: AdvantageConfig) -> list[tuple[float, ...]]:
    """Turns are compared by their episode's return, so that long episodes weigh more in mean and spread.

    Each turn is charged its own penalty. Source: the published code of arXiv 2605.15155.
    """
    scores = [t.reward - config.invalid_penalty * (not turn.valid) for t in trajectories for turn in t.turns]
    rest = iter(_estimate(scores, config))
    return [tuple(next(rest) for _ in t.turns) for t in trajectories]


@statistics.register("gigpo")
def gigpo(trajectories: Sequence[Trajectory], config: AdvantageConfig) -> list[tuple[float, ...]]:
    """The episode's advantage, plus that among the group's turns which began with the same observation.

    Turns are compared by their discounted return from there on, less their own penalty; a turn whose
    observation nobody else met adds 0. Source: GiGPO, arXiv 2505.10978, equations 6 to 8; there the episodes'
    statistics are taken over turns, see `gigpo-turn`.
    """
    return _with_anchors(by_episode(trajectories, config), trajectories, config)


@statistics.register("gigpo-turn")
def gigpo_by_turn(trajectories: Sequence[Trajectory], config: AdvantageConfig) -> list[tuple[float, ...]]:
    """As `gigpo`, the episodes' part by `turn`. Source: the code of GiGPO, arXiv 2505.10978."""
    return _with_anchors(by_turn(trajectories, config), trajectories, config)


def _with_anchors(
    episode: Sequence[tuple[float, ...]], trajectories: Sequence[Trajectory], config: AdvantageConfig
) -> list[tuple[float, ...]]:
    """The episodes' advantages with those of turns among turns of the same observation added."""
    rows = [list(row) for row in episode]
    anchors: dict[str, list[tuple[int, int]]] = {}
    for i, trajectory in enumerate(trajectories):
        for j, turn in enumerate(trajectory.turns):
            anchors.setdefault(turn.observation.text, []).append((i, j))
    returns = [_returns(trajectory, config) for trajectory in trajectories]
    for places in anchors.values():
        values = _estimate([returns[i][j] for i, j in places], config)
        for (i, j), value in zip(places, values, strict=True):
            rows[i][j] += config.step_weight * value
    return [tuple(row) for row in rows]


def _returns(trajectory: Trajectory, config: AdvantageConfig) -> list[float]:
    """Each turn's discounted sum of rewards from it on, less its penalty."""
    out, ahead = [], 0.0
    for turn in reversed(trajectory.turns):
        ahead = turn.reward + config.discount * ahead
        out.append(ahead - config.invalid_penalty * (not turn.valid))
    return out[::-1]


def _estimate(scores: Sequence[float], config: AdvantageConfig) -> list[float]:
    import numpy as np

    values: list[float] = estimators[config.estimator](np.array(scores)).tolist() if scores else []
    return values
