"""Losses, gradients and advantages against what the published functions of arXiv 2605.15155 gave.

The files hold random inputs and the results of the published code. Losses and gradients were computed in
float64 and agree to 1e-9; advantages are float32, which is 1e-5 where penalties are the whole spread.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdar.objectives.advantages import AdvantageConfig, advantages
from sdar.objectives.base import LossInputs, Objective, objectives
from sdar.ops.reduce import Denominators
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

CASES = 108
MICRO = 4
PUBLISHED: dict[str, tuple[str, dict[str, float]]] = {
    "grpo": ("grpo", {}),
    "sdar": ("sdar", {"coef": 0.01, "beta": 5.0}),
    "opsd-published": ("sdar", {"coef": 0.01, "beta": 5.0, "pg_coef": 0.0}),
    "grpo-opsd-published": ("sdar", {"coef": 0.01, "beta": 0.0}),
    "rlsd": ("rlsd", {}),
    "skill-sd": ("skill-sd", {"coef": 0.001}),
}


@cache
def _losses(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = dict(np.load(path))
    return arrays, json.loads(bytes(arrays["index"]))


def _find(shared_data: Path, name: str) -> Path:
    path = shared_data / "golden" / name
    if not path.is_file():
        pytest.skip(f"the published code's results are not at {path}")
    return path


def _objective(published: str, kl_coef: float) -> Objective:
    name, settings = PUBLISHED[published]
    return objectives[name](kl_coef=kl_coef, entropy_coef=0.001, reduction="micro-batch-mean", **settings)


def _micro_batches(
    arrays: dict[str, np.ndarray], inputs: str, logp_BT: torch.Tensor, step: int, steps: int
) -> Iterator[LossInputs]:
    """Four rows each, in their order, as in the published runs."""
    read = {
        name: torch.from_numpy(arrays[f"{inputs}/{name}"]) for name in ("old", "ref", "teacher", "entropy")
    }
    mask_BT = torch.from_numpy(arrays[f"{inputs}/mask"])
    adv_BT = torch.from_numpy(arrays[f"{inputs}/adv"])[:, None].expand(mask_BT.shape).contiguous()
    counts = Denominators(float(mask_BT.sum()), float(len(mask_BT)), float(len(mask_BT) // MICRO))
    for start in range(0, len(mask_BT), MICRO):
        rows = slice(start, start + MICRO)
        yield LossInputs(
            logp_BT=logp_BT[rows],
            mask_BT=mask_BT[rows],
            adv_BT=adv_BT[rows],
            turn_BT=torch.zeros_like(mask_BT[rows], dtype=torch.int64),
            **{f"{name}_BT": value[rows] for name, value in read.items()},
            denominators=counts,
            step=step,
            steps=steps,
        )


@pytest.mark.parametrize("published", PUBLISHED)
def test_losses_and_gradients_are_the_published_ones(published: str, shared_data: Path) -> None:
    arrays, index = _losses(_find(shared_data, "published_losses.npz"))
    assert len(index["cases"]) == CASES
    assert {case["published"] for case in index["cases"]} == set(PUBLISHED)
    assert index["micro_batch"] == MICRO
    for case in index["cases"]:
        if case["published"] != published:
            continue
        logp_BT = torch.from_numpy(arrays[f"{case['inputs']}/logp"]).requires_grad_()
        objective = _objective(published, case["kl_coef"])
        parts = _micro_batches(arrays, case["inputs"], logp_BT, case["step"], index["steps"])
        loss = torch.stack([objective.loss(part).loss for part in parts]).sum()
        loss.backward()
        assert logp_BT.grad is not None
        assert loss.item() == pytest.approx(case["loss"], rel=0, abs=1e-9), case
        expected = torch.from_numpy(arrays[f"case{case['case']}/grad_logp"])
        torch.testing.assert_close(logp_BT.grad, expected, rtol=0, atol=1e-9, msg=str(case))


def test_the_cut_is_a_part_of_the_published_loss(shared_data: Path) -> None:
    """Whole, the same rows have another loss, so the test above sees the cut."""
    arrays, index = _losses(_find(shared_data, "published_losses.npz"))
    case = next(case for case in index["cases"] if case["published"] == "sdar")
    logp_BT = torch.from_numpy(arrays[f"{case['inputs']}/logp"])
    parts = list(_micro_batches(arrays, case["inputs"], logp_BT, case["step"], index["steps"]))
    tensors = {name: torch.cat([part.tensors()[name] for part in parts]) for name in parts[0].tensors()}
    whole = LossInputs(**tensors, denominators=parts[0].denominators._replace(micro_batches=1.0))
    loss = _objective("sdar", case["kl_coef"]).loss(whole).loss.item()
    assert abs(loss - case["loss"]) > 1e-3


def _trajectory(turns: list[dict[str, Any]]) -> Trajectory:
    done = Completion((1,), (-0.1,), StopReason.STOP)
    made = tuple(
        Turn(Observation(turn["anchor"]), (), (), done, "", "", turn["reward"], turn["valid"])
        for turn in turns
    )
    return Trajectory(Task("t", "k"), 0, ContextMode.WINDOW, made, False, EndReason.DONE)


@pytest.mark.parametrize("estimator", ["group-std", "group-mean"])
@pytest.mark.parametrize(("name", "statistics"), [("grpo", "turn"), ("gigpo", "gigpo-turn")])
def test_advantages_are_the_published_ones(
    name: str, statistics: str, estimator: str, shared_data: Path
) -> None:
    cases = json.loads(_find(shared_data, "published_advantages.json").read_text())["cases"]
    assert len(cases) == 40
    for case in cases:
        settings = AdvantageConfig(
            estimator=estimator,
            statistics=statistics,
            invalid_penalty=case["invalid_penalty"],
            discount=case["gamma"],
            step_weight=case["step_weight"],
        )
        groups = [Group(Task("t", "k"), [_trajectory(turns) for turns in group]) for group in case["groups"]]
        found = [value for row in advantages(groups, settings) for value in row]
        assert found == pytest.approx(case["per_turn"][estimator][name], rel=0, abs=2e-5)
