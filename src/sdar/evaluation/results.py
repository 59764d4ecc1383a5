"""What an evaluation found: outcomes on a fixed panel, rates with intervals, and their JSON form. No torch.

The unit of chance is the task. One sample a task gives a Wilson interval; several give a percentile bootstrap
over tasks. Results on different panels are never compared.

Formats: 2 added the environment's own `metrics` to outcomes. Format 1 is read too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sdar.errors import ConfigError, DataError
from sdar.types import EndReason, Group

if TYPE_CHECKING:
    import numpy as np

FORMAT = 2
CONFIDENCE = 0.95
RESAMPLES = 10_000


class Interval(NamedTuple):
    """A rate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened on one task; one entry for each sample."""

    task: str
    kind: str
    success: tuple[bool, ...]
    reward: tuple[float, ...]
    turns: tuple[int, ...]
    invalid: tuple[int, ...]
    truncated: tuple[bool, ...]
    tokens: tuple[int, ...]
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What the environment measured, by name, see `sdar.types.Step`."""
    goal: str = ""
    """The task in words, where it was played."""

    @classmethod
    def of(cls, group: Group) -> "Outcome":
        """Read a group of episodes."""
        episodes = group.trajectories
        measured = [episode.metrics for episode in episodes]
        names = dict.fromkeys(name for metrics in measured for name in metrics)
        return cls(
            task=group.task.id,
            kind=group.task.kind,
            success=tuple(episode.success for episode in episodes),
            reward=tuple(episode.reward for episode in episodes),
            turns=tuple(len(episode.turns) for episode in episodes),
            invalid=tuple(episode.num_invalid for episode in episodes),
            truncated=tuple(episode.end is not EndReason.DONE for episode in episodes),
            tokens=tuple(episode.num_tokens for episode in episodes),
            metrics={name: tuple(metrics.get(name, 0.0) for metrics in measured) for name in names},
            goal=next((turn.observation.goal for episode in episodes for turn in episode.turns), ""),
        )

    @classmethod
    def joined(cls, parts: Sequence["Outcome"]) -> "Outcome":
        """The samples of several outcomes of one task, in order."""
        names = dict.fromkeys(name for part in parts for name in part.metrics)
        absent = [(0.0,) * len(part.success) for part in parts]
        metrics = {
            name: tuple(v for part, no in zip(parts, absent, strict=True) for v in part.metrics.get(name, no))
            for name in names
        }
        columns = ("success", "reward", "turns", "invalid", "truncated", "tokens")
        values = {name: tuple(v for part in parts for v in getattr(part, name)) for name in columns}
        return cls(task=parts[0].task, kind=parts[0].kind, goal=parts[0].goal, metrics=metrics, **values)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Outcome":
        """Read one back."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        metrics = {name: tuple(values) for name, values in data.get("metrics", {}).items()}
        return cls(**fields | {"metrics": metrics})

    @property
    def overlong(self) -> int:
        """Samples that were not played and count as failures: the first prompt did not fit the context."""
        return sum(not turns for turns in self.turns)

    @property
    def rate(self) -> float:
        """Share of samples that succeeded."""
        return sum(self.success) / len(self.success)


@dataclass(frozen=True, kw_only=True)
class EvalResult:
    """Outcomes on a panel, in its order, and what they were made with."""

    panel: str
    fingerprint: str
    samples: int
    temperature: float
    seed: int
    skills: str
    """Retrieval rule of the skills in the student's own prompt; empty: it saw none."""
    outcomes: tuple[Outcome, ...]
    episodes: tuple[Mapping[str, Any], ...] = field(default=(), compare=False, repr=False)
    """Those that were kept, see `sdar.runs.records.trajectory_record`; not in the JSON form."""

    SHARES: ClassVar = ("invalid", "truncated")
    """The numbers of `summary` that are shares of 1."""

    @cached_property
    def success(self) -> Interval:
        """Share of episodes that succeeded."""
        return rate_interval([outcome.success for outcome in self.outcomes])

    @cached_property
    def by_kind(self) -> dict[str, Interval]:
        """Success of each task kind."""
        kinds = sorted({outcome.kind for outcome in self.outcomes})
        return {kind: self.of_kind(kind).success for kind in kinds}

    def of_kind(self, kind: str) -> "EvalResult":
        """The outcomes on one kind of task."""
        return replace(self, outcomes=tuple(o for o in self.outcomes if o.kind == kind))

    @property
    def overlong(self) -> list[str]:
        """Tasks that could not be played and count as failures: the first prompt did not fit the context."""
        return [outcome.task for outcome in self.outcomes if outcome.overlong]

    @property
    def macro(self) -> float:
        """Success averaged over task kinds, each counting the same."""
        return math.fsum(rate.value for rate in self.by_kind.values()) / len(self.by_kind)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """What the environment measured, each a mean over episodes."""
        names = dict.fromkeys(name for outcome in self.outcomes for name in outcome.metrics)
        sums = {name: math.fsum(math.fsum(o.metrics.get(name, ())) for o in self.outcomes) for name in names}
        return {name: total / (self.samples * len(self.outcomes)) for name, total in sums.items()}

    def pass_at(self, k: int) -> float:
        """Chance that one of `k` samples of a task succeeds, estimated without bias from all samples."""
        if k > self.samples:
            raise ConfigError(f"pass@{k} needs at least {k} samples a task, not {self.samples}")
        missed = [math.comb(self.samples - sum(o.success), k) for o in self.outcomes]
        return 1 - sum(missed) / (len(missed) * math.comb(self.samples, k))

    @cached_property
    def pass_at_k(self) -> dict[int, float]:
        """`pass_at` of 1, 2, 4 and so on, as far as there are samples."""
        return {2**i: self.pass_at(2**i) for i in range(self.samples.bit_length())}

    @cached_property
    def summary(self) -> dict[str, float]:
        """The numbers of the whole panel; `invalid` is per turn, the others are per episode.

        `success_macro` is `macro`; `overlong` counts tasks, where there are such; what the environment
        measured comes last, under its own names.
        """
        episodes = self.samples * len(self.outcomes)
        turns = sum(sum(o.turns) for o in self.outcomes)
        return {
            "success": self.success.value,
            "success_low": self.success.low,
            "success_high": self.success.high,
            "success_macro": self.macro,
            "reward": math.fsum(math.fsum(o.reward) for o in self.outcomes) / episodes,
            "turns": turns / episodes,
            "tokens": sum(sum(o.tokens) for o in self.outcomes) / episodes,
            "invalid": sum(sum(o.invalid) for o in self.outcomes) / max(1, turns),
            "truncated": sum(sum(o.truncated) for o in self.outcomes) / episodes,
            **({"overlong": len(self.overlong)} if self.overlong else {}),
            **self.metrics,
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, with the summary, the success by kind and pass@k for other readers.

        `kept` has the places of the episodes that are kept, counting the samples of a task one by one.
        """
        played = asdict(replace(self, episodes=()))
        del played["episodes"]
        numbers = {outcome.task: number for number, outcome in enumerate(self.outcomes)}
        return {
            "format": FORMAT,
            **played,
            "summary": self.summary,
            "by_kind": {kind: list(interval) for kind, interval in self.by_kind.items()},
            "kept": [numbers[record["task"]] * self.samples + record["index"] for record in self.episodes],
            "pass_at_k": {str(k): chance for k, chance in self.pass_at_k.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EvalResult":
        """Read what `to_json` wrote. Raises `DataError` for a newer format."""
        if data["format"] > FORMAT:
            raise DataError(f"an evaluation has format {data['format']}; this sdar reads up to {FORMAT}")
        names = ("panel", "fingerprint", "samples", "temperature", "seed", "skills")
        outcomes = tuple(Outcome.from_json(outcome) for outcome in data["outcomes"])
        return cls(outcomes=outcomes, **{name: data[name] for name in names})


def require_same_panel(results: Sequence[EvalResult]) -> None:
    """Raise `ConfigError` unless all were played on the same panel."""
    for other in results[1:]:
        if other.fingerprint != results[0].fingerprint:
            raise ConfigError(
                f"results on different panels cannot be compared: {results[0].panel} "
                f"({results[0].fingerprint[:8]}) and {other.panel} ({other.fingerprint[:8]})"
            )


def difference(before: EvalResult, after: EvalResult) -> Interval:
    """Success of `after` minus that of `before`, paired task by task, with a bootstrap interval over tasks.

    Raises `ConfigError` when the two were not played on the same panel.
    """
    require_same_panel([before, after])
    return bootstrap([b.rate - a.rate for a, b in zip(before.outcomes, after.outcomes, strict=True)])


def rate_interval(successes: Sequence[Sequence[bool]]) -> Interval:
    """Success rate of tasks (outer) with samples (inner): Wilson for one sample a task, else bootstrap.

    Tasks that all have the same rate tell a bootstrap nothing; they get the wider Wilson interval too.
    """
    rates = [sum(task) / len(task) for task in successes]
    if len(set(rates)) == 1 or all(len(task) == 1 for task in successes):
        return wilson(math.fsum(rates), len(rates))
    return bootstrap(rates)


def wilson(successes: float, trials: int) -> Interval:
    """Wilson score interval of a binomial rate.

    >>> str(wilson(8, 10))
    '80.0 % [49.0, 94.3]'
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return Interval(rate, max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half)))


def bootstrap(values: "Sequence[float] | np.ndarray") -> Interval:
    """Mean with its percentile bootstrap interval, drawn with a fixed seed."""
    import numpy as np

    array = np.asarray(values)
    drawn = np.random.default_rng(0).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.quantile(array[drawn].mean(1), [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return Interval(float(array.mean()), float(low), float(high))
