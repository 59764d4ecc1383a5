"""What is kept with the recorded episodes of a step, for the viewer: numbers and texts, token by token."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sdar.model.chat import Chat
from sdar.objectives.base import Stream
from sdar.runs.records import Notes
from sdar.trainer.batch import Batch
from sdar.trainer.step import Learned
from sdar.types import ContextMode, Trajectory


def take_notes(
    kept: Sequence[int],
    episodes: Sequence[Trajectory],
    batch: Batch,
    learned: Learned,
    skills: Sequence[Sequence[str]],
    chat: Chat,
    further: Sequence[str] = (),
) -> list[Notes]:
    """The notes on the `kept` ones of the batch's episodes.

    `skills` has the names that each episode saw, `further` are the views beside the main teacher's.
    """
    streams = token_streams(batch, learned, kept, further)
    teachers = [teacher_prompts(batch, episodes, view) for view in range(1 + len(further))]
    seen = [[[chat.verbatim(prompt) for prompt in of[i]] for of in teachers] for i in kept]
    return [
        replace(
            texts(episodes[i], chat),
            streams=streams[row],
            skills=skills[i],
            teacher_prompts=seen[row][0],
            more_prompts=dict(zip(further, seen[row][1:], strict=True)),
        )
        for row, i in enumerate(kept)
    ]


def texts(trajectory: Trajectory, chat: Chat) -> Notes:
    """What the tokens of an episode say."""
    return Notes(
        pieces=[chat.pieces(turn.completion.tokens) for turn in trajectory.turns],
        prompts=[chat.verbatim(turn.prompt) for turn in trajectory.turns],
    )


def teacher_prompts(batch: Batch, episodes: Sequence[Trajectory], view: int = 0) -> list[list[Sequence[int]]]:
    """For each turn of each episode, what the teacher of a view saw in place of the turn's prompt.

    It is empty without a teacher, and in a transcript for every turn but the first.
    """
    prompts: list[list[Sequence[int]]] = [[] for _ in episodes]
    for sample in batch.samples:
        seen = (sample.teacher_prompt, *sample.more_prompts)
        prompts[sample.trajectory].append(seen[view] if view < len(seen) else ())
    for episode, found in zip(episodes, prompts, strict=True):
        if episode.context is ContextMode.TRANSCRIPT:
            found += [()] * (len(episode.turns) - 1)
    return prompts


def token_streams(
    batch: Batch, learned: Learned, kept: Sequence[int], further: Sequence[str] = ()
) -> list[dict[str, list[float]]]:
    """For each of the `kept` episodes: stream -> one number for each token that it sampled.

    `live` is the log-prob when the token was trained on, `gap` the teacher's minus that, both not a number
    where there is no teacher, and `gap/NAME` the same of each `further` view; `adv` is the advantage, `given`
    what it was before `credit` changed it; what was scored and what the objective shows (`gate`) have their
    own names.
    """
    streams = {"live": learned.live_M, "adv": batch.adv_M, **learned.streams}
    scored = {stream.value: flat for stream, flat in batch.streams.items() if flat is not batch.rollout_M}
    streams |= {name: flat for name, flat in scored.items() if flat.dim() == 1}
    if batch.given_M is not None:
        streams["given"] = batch.given_M
    if Stream.TEACHER in batch.streams:
        teacher_M = _where_taught(batch, 0, batch.streams[Stream.TEACHER])
        streams |= {"teacher": teacher_M, "gap": teacher_M - learned.live_M}
    for view, (name, logp_M) in enumerate(zip(further, batch.more_teachers, strict=True), 1):
        streams[f"gap/{name}"] = _where_taught(batch, view, logp_M) - learned.live_M
    values = {name: flat.tolist() for name, flat in streams.items()}
    columns: dict[int, list[int]] = {episode: [] for episode in kept}
    for row, sample in enumerate(batch.samples):
        if sample.trajectory in columns:
            columns[sample.trajectory].extend(range(batch.starts[row], batch.starts[row + 1]))
    return [{name: [flat[c] for c in mine] for name, flat in values.items()} for mine in columns.values()]


def _where_taught(batch: Batch, view: int, logp_M: Tensor) -> Tensor:
    """Log-probs by the teacher of a view; not a number where a token has no such teacher."""
    taught = batch.columns(batch.taught_by(view))
    out_M = torch.full_like(logp_M, math.nan)
    out_M[taught] = logp_M[taught]
    return out_M
