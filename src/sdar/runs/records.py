"""What a run keeps of an episode: a record of its tokens, and a short one. No torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdar.types import Trajectory

Streams = Mapping[str, Sequence[float]]
"""Name (`teacher`, `gap`, `gate`, `adv`) -> one number for each token the policy sampled in a trajectory."""


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What training knows about a trajectory beside the trajectory itself."""

    streams: Streams = field(default_factory=dict)
    skills: Sequence[str] = ()
    """Names of the skills that the teacher saw, or a student that is given skills."""
    pieces: Sequence[Sequence[str]] = ()
    """For each turn, the text of each sampled token."""
    prompts: Sequence[str] = ()
    """For each turn, the exact text put before its completion, as the chat template renders it."""
    teacher_prompts: Sequence[str] = ()
    """For each turn, what the teacher saw in place of `prompts`; empty where that is nothing else."""
    more_prompts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The same for each further teacher, by the name of its view."""


def trajectory_record(trajectory: Trajectory, notes: Notes) -> dict[str, Any]:
    """One line of a trajectories file.

    Turns hold what was put before the completion (`messages`, and as exact text `prompt`, for the teacher
    `teacher_prompt`, for further teachers `views`), the completion (`text`, `tokens`, `pieces`, `logp`, and
    every stream cut to the turn), the `action` read out of it, and its `reward`, `valid` and `metrics`.
    """
    streams = notes.streams
    texts = {"prompt": notes.prompts, "teacher_prompt": notes.teacher_prompts, "pieces": notes.pieces}
    turns, start = [], 0
    for number, turn in enumerate(trajectory.turns):
        end = start + len(turn.completion.tokens)
        turns.append(
            {
                "messages": [{"role": message.role, "content": message.content} for message in turn.messages],
                "observation": turn.observation.text,
                "text": turn.text,
                "action": turn.action,
                "reward": turn.reward,
                "valid": turn.valid,
                "metrics": dict(turn.metrics),
                "tokens": list(turn.completion.tokens),
                "logp": [_short(value) for value in turn.completion.logps],
            }
            | {name: of_turn[number] for name, of_turn in texts.items() if of_turn}
            | _views(notes, number)
            | {name: [_short(value) for value in values[start:end]] for name, values in streams.items()}
        )
        start = end
    if any(len(values) != start for values in streams.values()):
        raise ValueError(f"streams of {trajectory.task.id} need {start} numbers, one for each sampled token")
    return {
        "task": trajectory.task.id,
        "kind": trajectory.task.kind,
        "index": trajectory.index,
        "goal": _goal(trajectory),
        "context": trajectory.context.value,
        "success": trajectory.success,
        "reward": trajectory.reward,
        "end": trajectory.end.value,
        "skills": list(notes.skills),
        "facts": dict(trajectory.facts),
        "turns": turns,
    }


def _views(notes: Notes, number: int) -> dict[str, Any]:
    """What the further teachers saw in a turn, as what has to be changed in the student's prompt."""
    seen = {name: of_turn[number] for name, of_turn in notes.more_prompts.items() if of_turn[number]}
    changes = {name: _change(notes.prompts[number], text) for name, text in seen.items()}
    return {"views": changes} if changes else {}


def _change(before: str, after: str) -> dict[str, Any]:
    """What makes `after` of `before`: `text` in place of `cut` characters at `at`.

    >>> _change("go on", "go right on")
    {'at': 3, 'cut': 0, 'text': 'right '}
    """
    same = _alike(before, after)
    tail = _alike(before[same:][::-1], after[same:][::-1])
    return {"at": same, "cut": len(before) - same - tail, "text": after[same : len(after) - tail]}


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    differs = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differs, min(len(one), len(other)))


def episode_record(
    trajectory: Trajectory, skills: Sequence[str], gap: float, kept: int | None = None
) -> dict[str, Any]:
    """One line of an episodes file.

    `skills` are the names of those that the teacher saw, or a student that is given skills. `gap` is the mean
    of teacher - student log-prob over the sampled tokens, null without a teacher. `turns`, `invalid` (turns)
    and `tokens` are counts; `metrics` is what the environment measured. `kept` is its line in the step's
    trajectories file, from 0, or null.
    """
    return {
        "task": trajectory.task.id,
        "kind": trajectory.task.kind,
        "index": trajectory.index,
        "goal": _goal(trajectory),
        "success": trajectory.success,
        "reward": trajectory.reward,
        "end": trajectory.end.value,
        "turns": len(trajectory.turns),
        "invalid": trajectory.num_invalid,
        "tokens": trajectory.num_tokens,
        "metrics": trajectory.metrics,
        "skills": list(skills),
        "gap": _short(gap),
        "kept": kept,
    }


def _goal(trajectory: Trajectory) -> str:
    return trajectory.turns[0].observation.goal if trajectory.turns else ""


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
