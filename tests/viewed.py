"""Run directories for the viewer's tests, made with the package's own writer: no model, no training."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdar.evaluation.results import EvalResult, Outcome
from sdar.runs.records import Notes, trajectory_record
from sdar.runs.rundir import RunDir
from sdar.types import (
    Completion,
    ContextMode,
    EndReason,
    Group,
    Message,
    Observation,
    StopReason,
    Task,
    Trajectory,
    Turn,
)

KINDS = ("heat", "cool", "clean")
CONFIG = '[train]\nseed = {seed}\n[objective]\nname = "sdar"\n'
WORDS = ("go", " to", " fridge", " 1", "<|im_end|>")


def view_run(out: Path, name: str = "run", *, steps: int = 2, group: int = 4, seed: int = 0) -> RunDir:
    """A run in which every step plays one task of the next kind; each odd episode of a group succeeds."""
    run = RunDir.create(out, name, CONFIG.format(seed=seed))
    for step in range(1, steps + 1):
        add_step(run, step, group=group)
    return run


def add_step(run: RunDir, step: int, *, group: int = 4, goal: str = "") -> None:
    """One more step of the run: its episodes, their tokens and a line of metrics."""
    kind = KINDS[step % len(KINDS)]
    episodes = [
        episode(step, index, kind, goal or f"{kind} the apple of step {step}") for index in range(group)
    ]
    gaps = [math.fsum(notes.streams["gap"]) / len(notes.streams["gap"]) for _, notes in episodes]
    trajectories = [trajectory for trajectory, _ in episodes]
    run.write_episodes(step, trajectories, [("general", kind)] * group, gaps, range(group))
    run.write_trajectories(step, trajectories, [notes for _, notes in episodes])
    run.log_metrics(step, {"rollout/success": 0.5, "teacher/gap_mean": 0.01 * step, "loss": math.nan})


def add_panel(run: RunDir, step: int, won: Sequence[bool]) -> None:
    """The panel at a step: one task for each of `won`, kinds in turn; the episodes that failed are kept."""
    tasks = [Task(f"p/{number}", KINDS[number % len(KINDS)]) for number in range(len(won))]
    played = [
        replace(episode(step, int(success), task.kind, f"panel {task.kind}")[0], task=task, index=0)
        for task, success in zip(tasks, won, strict=True)
    ]
    _, notes = episode(step, 0, KINDS[0], "")
    notes = replace(notes, streams={}, teacher_prompts=())
    result = EvalResult(
        panel="p",
        fingerprint="f" * 64,
        samples=1,
        temperature=0.0,
        seed=0,
        skills="",
        outcomes=tuple(Outcome.of(Group(t.task, [t])) for t in played),
        episodes=tuple(trajectory_record(t, notes) for t in played if not t.success),
    )
    run.write_eval(step, result.to_json(), result.episodes)


def episode(step: int, index: int, kind: str, goal: str, turns: int = 2) -> tuple[Trajectory, Notes]:
    """An episode whose numbers follow from step, place and turn, and what training noted of it."""
    tokens = range(turns * len(WORDS))
    made = Trajectory(
        task=Task(f"train/{kind}", kind),
        index=index,
        context=ContextMode.TRANSCRIPT,
        turns=tuple(_turn(goal, kind, number, index) for number in range(turns)),
        success=index % 2 == 1,
        end=EndReason.DONE,
    )
    notes = Notes(
        streams={
            "adv": [0.5 if index % 2 else -0.5 for _ in tokens],
            "gap": [(-1.0) ** token * (token + step / 64) / 8 for token in tokens],
            "gate": [token / 16 for token in tokens],
            "entropy": [1 / (1 + token) for token in tokens],
        },
        skills=("general", kind),
        pieces=[WORDS] * turns,
        prompts=["user\nYour task: go.\nassistant\n", "user\nYou see.\nassistant\n"],
        teacher_prompts=[f"user\nSkills for this task:\nHow to {kind}.\nYour task: go.\nassistant\n", ""],
    )
    return made, notes


def _turn(goal: str, kind: str, number: int, index: int) -> Turn:
    return Turn(
        observation=Observation(f"You see a {kind}er {number}.", goal=goal),
        messages=(Message("user", f"Your task: {goal}"),),
        prompt=(1, 2),
        completion=Completion(tuple(range(10, 10 + len(WORDS))), (-0.25,) * len(WORDS), StopReason.STOP),
        text="go to fridge 1",
        action="go to fridge 1",
        reward=float(10 * (number == 1 and index % 2)),
        valid=number != 1 or index != 0,
    )
