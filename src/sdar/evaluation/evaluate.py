"""Plays a fixed panel of tasks. No torch: whatever collects episodes can be evaluated."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from sdar.envs.base import Panel
from sdar.errors import ContextOverflow
from sdar.evaluation.results import EvalResult, Outcome
from sdar.rollout.attempts import Plays, Progress, Ranks, all_attempts, share, unshare
from sdar.rollout.engine import Sampling
from sdar.rollout.kept import of_panel
from sdar.runs.records import Notes, trajectory_record
from sdar.settings.values import check_least
from sdar.types import Group, Trajectory

T = TypeVar("T")

NO_PANEL = "none"
"""The name that stands for no panel."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """How the policy is evaluated."""

    panel: str = ""
    """Fixed panel of tasks; empty: the environment's first one; none: a run plays no panel."""
    tasks: int = 0
    """Cut the panel to about so many tasks, each kind with its share; 0 is the whole panel."""
    samples: int = 1
    """Episodes of each task."""
    temperature: float = 0.4
    """Of the sampling; 0 is greedy."""
    seed: int = 0
    """Decides the sampling, together with task, episode and turn."""
    record: int = 8
    """Episodes of a panel that are kept to be read, turn by turn: failures first, spread over the kinds."""

    @property
    def is_on(self) -> bool:
        """Whether a run plays a panel."""
        return self.panel != NO_PANEL

    def __post_init__(self) -> None:
        check_least(self, "eval", samples=1, tasks=0, temperature=0, seed=0, record=0)


def evaluate(
    panel: Panel,
    collector: Plays,
    config: EvalConfig,
    *,
    max_tokens: int = Sampling.max_tokens,
    skills: str = "",
    ranks: Ranks | None = None,
    on_progress: Progress | None = None,
    note: Callable[[Trajectory], Notes] = lambda _: Notes(),
) -> EvalResult:
    """Play every task of `panel` `config.samples` times.

    `max_tokens` bounds a completion; `skills` names the rule of the skills that `collector` shows to the
    student. With `ranks`, each plays its share; all return the same result, whatever their number.
    `note` says what else is known of an episode that is kept.

    A task whose first prompt does not fit the player's context counts as failed: a panel stays what it is
    for every player. Raises `ContextOverflow` when none fits.
    """
    rank, size = (0, 1) if ranks is None else (ranks.rank, ranks.size)

    def everywhere(mine: list[T]) -> list[list[T]]:
        return [mine] if ranks is None else ranks.gather(mine)

    sampling = Sampling(temperature=config.temperature, max_tokens=max_tokens)
    attempts = all_attempts(panel.tasks, config.samples)
    played = collector.play(share(attempts, rank, size), config.seed, sampling, on_progress)
    mine = [Outcome.of(Group(trajectory.task, [trajectory])) for trajectory in played]
    outcomes = unshare(everywhere(mine))
    if all(outcome.overlong for outcome in outcomes):
        problem = next((trajectory.problem for trajectory in played), "see the other ranks")
        raise ContextOverflow(f"no task of panel '{panel.name}' fits the context; {problem}")
    told = [(outcome.kind, None if outcome.overlong else outcome.success[0]) for outcome in outcomes]
    kept = of_panel(told, config.record)
    records = [
        (place, trajectory_record(trajectory, note(trajectory)))
        for place, trajectory in zip(range(rank, len(attempts), size), played, strict=True)
        if place in kept
    ]
    records = sorted(chain.from_iterable(everywhere(records)), key=itemgetter(0))
    samples = config.samples
    return EvalResult(
        panel=panel.name,
        fingerprint=panel.fingerprint,
        samples=samples,
        temperature=config.temperature,
        seed=config.seed,
        skills=skills,
        outcomes=tuple(Outcome.joined(outcomes[i : i + samples]) for i in range(0, len(outcomes), samples)),
        episodes=tuple(record for _, record in records),
    )
