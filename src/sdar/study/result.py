"""One small file for each run of a study: what was run, where, and what came out. No torch."""

import hashlib
import json
import math
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdar.envs.base import Panel
from sdar.errors import DataError
from sdar.evaluation.results import EvalResult, Outcome
from sdar.runs.files import write_atomic
from sdar.runs.rundir import RunDir, read_evals, read_metrics, read_trajectories, trajectory_steps
from sdar.runs.versions import commit, versions
from sdar.settings.config import read_toml
from sdar.study.plan import Planned

FORMAT = 1
CURVES = (
    "rollout/success",
    "rollout/entropy",
    "rollout/mixed_groups",
    "rollout/turns",
    "teacher/gap_mean",
    "teacher/positive",
    "sdar/gate_mean",
    "sdar/gate_active",
    "policy/kl_ref",
    "policy/clip_fraction",
    "optim/grad_norm",
)
"""Metrics that are kept for every step, where the objective has them."""
PANEL = ("panel", "fingerprint", "samples", "temperature", "seed")
BLOCKS = 6
"""Parts of the training over which the token gap of each turn is averaged."""


def write_result(file: Path, planned: Planned, source: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Write one file, each key on its own line. `source` says what made it: see `provenance`."""
    head = {"format": FORMAT, "name": planned.name, "part": planned.part, "axes": planned.axes}
    whole = {**head, "seed": planned.seed, "settings": planned.settings, **source, **content}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in whole.items()]
    write_atomic(file, "{\n" + ",\n".join(lines) + "\n}\n")


def provenance(model: Path) -> dict[str, Any]:
    """The code, the starting model and the machine, as a result records them."""
    files = sorted(path for path in model.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "cpu": platform.machine()}
    return {"commit": commit(), "model": digest, "versions": versions(), "machine": machine}


def is_complete(run: RunDir) -> bool:
    """Whether a run has done all its steps."""
    steps = read_toml(run.config_file).values["train"]["steps"]
    return bool(read_evals(run).get(steps)) and read_metrics(run)[-1]["step"] == steps


def summarise(run: RunDir) -> dict[str, Any]:
    """What a finished run directory says; numbers have four digits."""
    lines = read_metrics(run)
    evals = {step: EvalResult.from_json(data) for step, data in read_evals(run).items()}
    names = [name for name in CURVES if any(name in line for line in lines)]
    last = evals[max(evals)]
    seconds = {part: sum(line.get(f"time/{part}_s", 0.0) for line in lines) for part in ("step", "eval")}
    return {
        "status": "done",
        "seconds": {part: round(value, 1) for part, value in seconds.items()},
        "tokens": int(sum(line.get("rollout/tokens", 0.0) for line in lines)),
        "panel": {name: getattr(last, name) for name in PANEL},
        "student_skills": last.skills,
        "success": {step: _bits(o.success for o in result.outcomes) for step, result in evals.items()},
        "last": {
            "turns": [turn for o in last.outcomes for turn in o.turns],
            "tokens": [count for o in last.outcomes for count in o.tokens],
            "invalid": [count for o in last.outcomes for count in o.invalid],
            "reward": [_short(reward) for o in last.outcomes for reward in o.reward],
            "truncated": _bits(o.truncated for o in last.outcomes),
        },
        "curves": {name: [_short(line.get(name, math.nan)) for line in lines[1:]] for name in names},
        "turns": turn_dynamics(run),
    }


def turn_dynamics(run: RunDir) -> list[dict[str, Any]]:
    """Token gap and gate by turn over training: for each block of steps, lists over the turns of an episode.

    `tokens` counts the recorded ones, `gap` is their mean teacher - student log-prob, `positive` the share of
    gaps above 0, and `gate` the mean gate, of an objective that has one. Empty without a teacher.
    """
    steps = trajectory_steps(run)
    blocks: list[dict[str, Any]] = []
    for part in np.array_split(steps, min(BLOCKS, len(steps))):
        gaps: defaultdict[int, list[float]] = defaultdict(list)
        gates: defaultdict[int, list[float]] = defaultdict(list)
        for episode in (episode for step in part.tolist() for episode in read_trajectories(run, step)):
            for number, turn in enumerate(episode["turns"]):
                gaps[number] += [gap for gap in turn.get("gap", ()) if gap is not None]
                gates[number] += [gate for gate in turn.get("gate", ()) if gate is not None]
        if any(gaps.values()):
            block: dict[str, Any] = {"steps": [int(part[0]), int(part[-1])]}
            block["tokens"] = [len(gaps[turn]) for turn in gaps]
            block["gap"] = [_mean(gaps[turn]) for turn in gaps]
            block["positive"] = [_mean([gap > 0 for gap in gaps[turn]]) for turn in gaps]
            block |= {"gate": [_mean(gates[turn]) for turn in gates]} if any(gates.values()) else {}
            blocks.append(block)
    return blocks


def read_results(directory: Path) -> dict[str, dict[str, Any]]:
    """Name -> result of every run that has a file."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.glob("*.json"))]
    return {result["name"]: result for result in found}


def eval_result(result: Mapping[str, Any], panel: Panel) -> EvalResult:
    """The final evaluation of a run, to compare. Raises `DataError` when it was on another panel."""
    last, played = result["last"], result["panel"]
    if played["fingerprint"] != panel.fingerprint:
        raise DataError(f"{result['name']} was not evaluated on this version of panel {panel.name}")
    columns: dict[str, Sequence[Any]] = {name: values for name, values in last.items() if name != "truncated"}
    bits = {"truncated": last["truncated"], "success": list(result["success"].values())[-1]}
    columns |= {name: [bit == "1" for bit in row] for name, row in bits.items()}
    samples = played["samples"]
    outcomes = []
    for i, task in enumerate(panel.tasks):
        row = {name: values[i * samples : (i + 1) * samples] for name, values in columns.items()}
        outcomes.append(Outcome.from_json({"task": task.id, "kind": task.kind, **row}))
    return EvalResult(**played, skills=result["student_skills"], outcomes=tuple(outcomes))


def _bits(rows: Iterable[Sequence[bool]]) -> str:
    """Task after task, sample after sample: 1 for yes, 0 for no."""
    return "".join(str(int(value)) for row in rows for value in row)


def _mean(values: Sequence[float]) -> float | None:
    return _short(math.fsum(values) / len(values)) if values else None


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
