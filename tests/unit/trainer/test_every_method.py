"""Every objective trains on every environment, with its teachers and its extra samples."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.runs import tiny_trainer

from sdar.envs.base import EnvSpec, envs
from sdar.objectives import Stream, objectives
from sdar.rollout.engine import Sampling
from sdar.rollout.settings import RolloutConfig
from sdar.rollout.stages import Ask, Tools, run_stages, stages
from sdar.rollout.writing import Written
from sdar.trainer.distributed import World
from sdar.trainer.settings import OptimConfig
from sdar.types import ContextMode, Group, Place, Trajectory

ANSWER = '{"episode_skill": "<skill>go left</skill>", "step_skills": [{"turn": 1, "skill": "look"}]}'
SHOWN = {
    "adrs": "adrs/trust_mean",
    "agent-opsd": "agent_opsd/weight_mean",
    "bcsd": "bcsd/augmented_gap",
    "grsd": "grsd/weight_mean",
    "icsd": "icsd/weight_mean",
    "ocsd": "ocsd/weight_mean",
    "opid": "opid/episode_gap",
    "ovcsd": "ovcsd/fork_loss",
    "pcsd": "pcsd/gate_mean",
    "seed": "seed/gate_mean",
    "step-opsd": "step_opsd/weight_mean",
    "ucob": "ucob/weight_mean",
}
"""A number of each follow-up's own."""
ROLLOUT = RolloutConfig(tasks_per_step=1, group_size=2, max_tokens=4, context=ContextMode.WINDOW)


class Fluent:
    """Writes what every stage can read."""

    name = "fluent"

    def write(self, asks: Sequence[tuple[Ask, int]], sampling: Sampling) -> list[Written]:
        return [Written(ANSWER, "stop") for _ in asks]


def lucky(names: Sequence[str], groups: Sequence[Group], tools: Tools) -> list[Group]:
    """What a random model hardly ever does: answers are valid, and the first of two episodes succeeds.

    Where stages play on from failures, both fail and those who play on succeed, by other actions.
    """

    def told(episode: Trajectory, won: bool, action: str = "") -> Trajectory:
        turns = [replace(turn, valid=True, reward=0.0) for turn in episode.turns]
        turns[-1] = replace(turns[-1], reward=float(won), action=action or turns[-1].action)
        return replace(episode, turns=tuple(turns), success=won)

    def play_on(places: Sequence[Place]) -> list[Trajectory]:
        return [told(episode, True, f"win {i}") for i, episode in enumerate(tools.play_on(places))]

    fails = "verify-branches" in names
    played = [
        replace(group, trajectories=[told(e, not fails and e.index == 0) for e in group.trajectories])
        for group in groups
    ]
    return run_stages(names, played, replace(tools, play_on=play_on))


@pytest.fixture(scope="module")
def spec() -> Callable[[str], EnvSpec]:
    """The environments, which are made once: what they generate is kept in them."""
    made: dict[str, EnvSpec] = {}
    return lambda name: made.setdefault(name, envs[name](max_turns=2))


@pytest.fixture
def all_are_lucky(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in objectives:
        monkeypatch.setitem(stages._table, f"{name} lucky", partial(lucky, objectives[name].stages))


@pytest.mark.parametrize("env", ["alfworld", "search_qa", "webshop"])
@pytest.mark.parametrize("name", sorted(objectives))
def test_it_trains_two_steps(
    name: str,
    env: str,
    spec: Callable[[str], EnvSpec],
    all_are_lucky: None,
    world: World,
    tmp_path: Path,
) -> None:
    objective = objectives[name]()
    trainer = tiny_trainer(
        tmp_path / "run",
        world,
        steps=2,
        objective=objective,
        rollout=ROLLOUT,
        optim=OptimConfig(lr=1e-3, micro_tokens=8192),
        spec=spec(env),
        stages=(f"{name} lucky",),
        record=0,
    )
    trainer.writing.author = Fluent()
    before = {key: value.clone() for key, value in trainer.learner.policy.state_dict().items()}
    for step in (1, 2):
        metrics = trainer.step(step)
        assert metrics["optim/skipped"] == 0
        assert math.isfinite(metrics["objective/loss"])
        assert metrics["optim/grad_norm"] > 0
        taught = Stream.TEACHER in objective.needs and bool(objective.views)
        assert ("teacher/gap_start" in metrics) == taught, "some episode has its teacher"
        assert (metrics.get("extra/samples", 0) > 0) == objective.extras
        assert SHOWN.get(name, "objective/loss") in metrics
    after = trainer.learner.policy.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
