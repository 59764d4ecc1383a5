"""What is kept with the recorded episodes of a step, for the viewer: numbers and texts, token by token."""

import math
from collections.abc import Sequence

import torch

from sdar.model.chat import Chat
from sdar.objectives.base import Stream
from sdar.runs.records import Notes
from sdar.trainer.batch import Batch
from sdar.trainer.step import Learned
from sdar.types import ContextMode, Trajectory


def take_notes(
    trajectories: Sequence[Trajectory],
    batch: Batch,
    learned: Learned,
    skills: Sequence[Sequence[str]],
    chat: Chat,
) -> list[Notes]:
    """The notes on `trajectories`, the first of the batch; `skills` has the names that each one saw."""
    streams = token_streams(batch, learned, len(trajectories))
    teacher = teacher_prompts(batch, trajectories)
    return [
        Notes(
            streams=streams[i],
            skills=skills[i],
            pieces=[chat.pieces(turn.completion.tokens) for turn in trajectory.turns],
            prompts=[chat.verbatim(turn.prompt) for turn in trajectory.turns],
            teacher_prompts=[chat.verbatim(prompt) for prompt in teacher[i]],
        )
        for i, trajectory in enumerate(trajectories)
    ]


def teacher_prompts(batch: Batch, trajectories: Sequence[Trajectory]) -> list[list[tuple[int, ...]]]:
    """For each turn of each of the first trajectories, what the teacher saw in place of the turn's prompt.

    It is empty without a teacher, and in a transcript for every turn but the first.
    """
    prompts: list[list[tuple[int, ...]]] = [[] for _ in trajectories]
    for sample in batch.samples:
        if sample.trajectory < len(trajectories):
            prompts[sample.trajectory].append(sample.teacher_prompt)
    for trajectory, found in zip(trajectories, prompts, strict=True):
        if trajectory.context is ContextMode.TRANSCRIPT:
            found += [()] * (len(trajectory.turns) - 1)
    return prompts


def token_streams(batch: Batch, learned: Learned, count: int) -> list[dict[str, list[float]]]:
    """For each of the first `count` trajectories: stream -> one number for each token that it sampled.

    `live` is the log-prob when the token was trained on, `gap` the teacher's minus that, both not a number
    where there is no teacher; `adv` is the advantage; what was scored and what the objective shows (`gate`)
    have their own names.
    """
    streams = {"live": learned.live_M, "adv": batch.adv_M, **learned.streams}
    scored = {stream.value: flat for stream, flat in batch.streams.items() if flat is not batch.rollout_M}
    streams |= {name: flat for name, flat in scored.items() if flat.dim() == 1}
    if Stream.TEACHER in batch.streams:
        taught = batch.columns(batch.taught)
        teacher_M = torch.full_like(learned.live_M, math.nan)
        teacher_M[taught] = batch.streams[Stream.TEACHER][taught]
        streams |= {"teacher": teacher_M, "gap": teacher_M - learned.live_M}
    values = {name: flat.tolist() for name, flat in streams.items()}
    columns: list[list[int]] = [[] for _ in range(count)]
    for row, sample in enumerate(batch.samples):
        if sample.trajectory < count:
            columns[sample.trajectory].extend(range(batch.starts[row], batch.starts[row + 1]))
    return [{name: [flat[c] for c in mine] for name, flat in values.items()} for mine in columns]
