"""Evaluation on a panel: counts, intervals, determinism and refusals."""

import hashlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from sdar.envs.base import Panel
from sdar.errors import ConfigError, ContextOverflow
from sdar.evaluation.evaluate import EvalConfig, evaluate
from sdar.evaluation.results import EvalResult
from sdar.rollout.attempts import Attempt, Plays, Progress
from sdar.rollout.engine import Sampling
from sdar.runs.records import Notes
from sdar.types import (
    Completion,
    ContextMode,
    EndReason,
    Observation,
    StopReason,
    Task,
    Trajectory,
    Turn,
)

T = TypeVar("T")


class FakeCollector(Plays):
    """Episodes whose outcome follows from (task, sample, seed); `skill` is their success rate."""

    def __init__(self, skill: float = 0.5) -> None:
        self.skill = skill
        self.calls: list[tuple[int, Sampling | None]] = []

    def play(
        self,
        attempts: Sequence[Attempt],
        seed: int,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> list[Trajectory]:
        self.calls.append((len(attempts), sampling))
        return [self.episode(task, index, seed) for task, index in attempts]

    def episode(self, task: Task, index: int, seed: int) -> Trajectory:
        draw = hashlib.sha256(f"{task.id}/{index}/{seed}".encode()).digest()
        success = draw[0] / 256 < self.skill
        length = 1 + draw[1] % 4
        turns = tuple(
            Turn(
                observation=Observation("o"),
                messages=(),
                prompt=(),
                completion=Completion((1, 2), (-0.5, -0.5), StopReason.STOP),
                text="go",
                action="go",
                reward=float(success and turn == length - 1),
                valid=turn > 0,
            )
            for turn in range(length)
        )
        end = EndReason.DONE if success else EndReason.MAX_TURNS
        return Trajectory(task, index, ContextMode.WINDOW, turns, success, end)


def make_panel(size: int = 40, name: str = "p") -> Panel:
    return Panel(name, [Task(f"{name}/{i}", "heat" if i < size // 4 else "cool") for i in range(size)])


def run(skill: float = 0.5, samples: int = 1, panel: Panel | None = None) -> EvalResult:
    return evaluate(panel or make_panel(), FakeCollector(skill), EvalConfig(samples=samples))


def test_counts() -> None:
    panel, collector = make_panel(), FakeCollector()
    result = evaluate(panel, collector, EvalConfig(samples=3, temperature=0.7), max_tokens=9)
    assert collector.calls == [(120, Sampling(temperature=0.7, max_tokens=9))]
    episodes = [collector.episode(task, i, 0) for task in panel.tasks for i in range(3)]
    turns = sum(len(e.turns) for e in episodes)
    summary = result.summary
    assert summary["success"] == pytest.approx(sum(e.success for e in episodes) / 120)
    assert summary["reward"] == pytest.approx(sum(e.reward for e in episodes) / 120)
    assert summary["turns"] == pytest.approx(turns / 120)
    assert summary["tokens"] == pytest.approx(2 * turns / 120)
    assert summary["invalid"] == pytest.approx(120 / turns)
    assert summary["truncated"] == pytest.approx(1 - summary["success"])


def test_a_task_that_does_not_fit_is_a_failure_that_is_counted() -> None:
    class Short(FakeCollector):
        """A player that cannot read some tasks."""

        def episode(self, task: Task, index: int, seed: int) -> Trajectory:
            if task.id not in unread:
                return super().episode(task, index, seed)
            end = EndReason.OVERLONG
            return Trajectory(task, index, ContextMode.WINDOW, (), False, end, problem=f"{task.id} is long")

    panel, unread = make_panel(), {"p/0", "p/20"}
    result = evaluate(panel, Short(skill=1), EvalConfig(samples=2))
    assert (result.fingerprint, result.overlong) == (panel.fingerprint, ["p/0", "p/20"])
    assert (result.success.value, result.summary["overlong"]) == (0.95, 2)
    assert EvalResult.from_json(json.loads(json.dumps(result.to_json()))).overlong == ["p/0", "p/20"]
    assert "overlong" not in run().summary
    unread = {task.id for task in panel.tasks}
    with pytest.raises(ContextOverflow, match="no task of panel 'p' fits the context; p/0 is long"):
        evaluate(panel, Short(), EvalConfig())


def test_kinds_are_weighted_by_count() -> None:
    result = run()
    assert list(result.by_kind) == ["cool", "heat"]
    assert (10 * result.by_kind["heat"].value + 30 * result.by_kind["cool"].value) / 40 == pytest.approx(
        result.success.value
    )


def test_same_seed_same_result_and_another_seed_another() -> None:
    assert run() == run()
    assert run() != evaluate(make_panel(), FakeCollector(), EvalConfig(seed=1))


class Ranks:
    """One of three that work at the same time and hand one another what they have."""

    def __init__(self, rank: int, shared: dict[int, object], barrier: threading.Barrier) -> None:
        self.rank, self.size, self.shared, self.barrier = rank, 3, shared, barrier

    def gather(self, item: T) -> list[T]:
        self.shared[self.rank] = item
        self.barrier.wait(10)
        found = [self.shared[rank] for rank in range(self.size)]
        self.barrier.wait(10)
        return found  # type: ignore[return-value]


def test_ranks_share_the_work_and_agree() -> None:
    panel, players = make_panel(), [FakeCollector() for _ in range(3)]
    shared: dict[int, object] = {}
    barrier = threading.Barrier(3)
    alone = run(samples=2)
    with ThreadPoolExecutor(3) as pool:
        play = partial(evaluate, panel, config=EvalConfig(samples=2))
        results = list(pool.map(lambda i: play(players[i], ranks=Ranks(i, shared, barrier)), range(3)))
    assert [player.calls[0][0] for player in players] == [27, 27, 26]
    for result in results:
        assert result == alone
        assert result.episodes == alone.episodes


def test_failures_are_kept_with_what_is_noted_of_them() -> None:
    config = EvalConfig(samples=2, record=5)
    result = evaluate(make_panel(), FakeCollector(), config, note=lambda t: Notes(skills=[t.task.id]))
    kept = [(record["task"], record["index"]) for record in result.episodes]
    lost = [(o.task, i) for o in result.outcomes for i, won in enumerate(o.success) if not won]
    assert len(kept) == 5
    assert set(kept) <= set(lost)
    assert sorted(record["kind"] for record in result.episodes) == ["cool"] * 2 + ["heat"] * 3
    assert all(record["skills"] == [record["task"]] for record in result.episodes)
    assert "episodes" not in result.to_json()


@pytest.mark.parametrize(("field", "value"), [("samples", 0), ("temperature", -0.1)])
def test_impossible_settings(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"eval.{field} must"):
        EvalConfig(**{field: value})  # type: ignore[arg-type]
