"""Samples of a step as flat arrays, and how they are cut into mini-batches and micro-batches.

Names: S samples; M policy tokens of all samples, sample after sample; a *stream* is one float for each of the
M. Every rank holds the same batch and cuts it in the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sdar.model.logprobs import TokenScores, Top
from sdar.model.policy import Packed
from sdar.model.prefixes import MIN_SHARED, Tokens, common_prefix
from sdar.objectives.base import NO_TOKENS, LossInputs, StepInputs, Stream
from sdar.ops.reduce import Denominators
from sdar.rollout.samples import Sample
from sdar.types import Group, Trajectory

Ints = np.ndarray

_READS = 16
"""Shared tokens that a row reads and that take as much memory as one of its own: only their keys and values
are kept for it (measured shapes: 16 to 26)."""


@dataclass(kw_only=True)
class Batch:
    """All samples of a step. `starts` (S+1,): sample s has columns starts[s]:starts[s+1] of a stream."""

    samples: Sequence[Sample]
    starts: Ints
    adv_M: Tensor
    turn_M: Tensor
    rollout_M: Tensor
    """Log-probs as they were sampled."""
    streams: dict[Stream, Tensor] = field(default_factory=dict)
    """What else there is of each policy token, filled in as it is scored."""
    more_teachers: list[Tensor] = field(default_factory=list)
    """Log-probs of the further teacher views."""
    teacher_ids: Tensor | None = None
    """(M, K) the tokens of which `TEACHER_TOP` has log-probs, beside the bucket; None: the vocabulary."""
    given_M: Tensor | None = None
    """The advantages as they were before the objective's `credit`, where that changed them."""

    @classmethod
    def build(
        cls, samples: Sequence[Sample], advantages: Sequence[Sequence[float]], device: torch.device
    ) -> "Batch":
        """`advantages[i][t]` belongs to turn t of trajectory i."""
        counts = [sample.num_policy for sample in samples]
        turns = [turn for sample in samples for turn in sample.turns]
        adv = [
            (sample.adv or 0.0) if sample.extra else advantages[sample.trajectory][turn]
            for sample in samples
            for turn in sample.turns
        ]
        logps = [logp for sample in samples for logp in sample.logps]
        return cls(
            samples=samples,
            starts=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
            adv_M=torch.tensor(adv, dtype=torch.float32, device=device),
            turn_M=torch.tensor(turns, dtype=torch.int64, device=device),
            rollout_M=torch.tensor(logps, dtype=torch.float32, device=device),
        )

    def put(self, stream: Stream, scores: TokenScores, rows: Sequence[int] | None = None) -> None:
        """Fill in the log-probs of a stream, and what else a pass of the teacher gave.

        With `rows` only theirs change.
        """
        found = {stream: scores.logp}
        if stream is Stream.TEACHER:
            extra = {Stream.TEACHER_ENTROPY: scores.entropy, Stream.TEACHER_TOP: scores.top}
            found |= {name: value for name, value in extra.items() if value is not None}
            if scores.ids is not None:
                self.teacher_ids = self._renewed(self.teacher_ids, scores.ids, rows)
        for name, new in found.items():
            self.streams[name] = self._renewed(self.streams.get(name), new, rows)

    def _renewed(self, old: Tensor | None, new: Tensor, rows: Sequence[int] | None) -> Tensor:
        if old is None or rows is None:
            return new
        columns = self.columns(rows)
        return old.index_copy(0, columns, new[columns])

    @property
    def extras(self) -> list[int]:
        """Rows of extra samples, which stand behind all others."""
        return [row for row, sample in enumerate(self.samples) if sample.extra]

    def own(self) -> "Batch":
        """The batch without its extra samples."""
        if not self.extras:
            return self
        rows = self.extras[0]
        count = int(self.starts[rows])
        return Batch(
            samples=self.samples[:rows],
            starts=self.starts[: rows + 1],
            adv_M=self.adv_M[:count],
            turn_M=self.turn_M[:count],
            rollout_M=self.rollout_M[:count],
            streams={name: flat[:count] for name, flat in self.streams.items()},
            more_teachers=[flat[:count] for flat in self.more_teachers],
            teacher_ids=None if self.teacher_ids is None else self.teacher_ids[:count],
            given_M=None if self.given_M is None else self.given_M[:count],
        )

    @property
    def taught(self) -> list[int]:
        """Rows that have the main teacher."""
        return self.taught_by(0)

    def taught_by(self, view: int) -> list[int]:
        """Rows that have the teacher of that view."""
        return [row for row, sample in enumerate(self.samples) if sample.prompt_of(view)]

    def sequences(self, view: int | None = None) -> list[Tokens]:
        """The tokens of each sample behind the prompt of a teacher view; None is the student's."""
        return [sample.sequence(view) for sample in self.samples]

    def columns(self, rows: Sequence[int]) -> Tensor:
        """Indices into a stream of the policy tokens of `rows`, in that order."""
        spans = [np.arange(self.starts[row], self.starts[row + 1]) for row in rows]
        joined = np.concatenate(spans) if spans else np.zeros(0, np.int64)
        return torch.from_numpy(joined).to(self.adv_M.device)

    def marks(self, rows: Sequence[int]) -> Tensor:
        """The policy tokens of `rows`, as a mask."""
        mask_M = torch.zeros_like(self.adv_M, dtype=torch.bool)
        mask_M[self.columns(rows)] = True
        return mask_M

    def top(self, columns: Tensor) -> Top:
        """The tokens whose log-probs the teacher gave at these policy tokens; 0 is the vocabulary."""
        return 0 if self.teacher_ids is None else self.teacher_ids[columns]

    def denominators(self, rows: Sequence[int], micro_batches: int, *, extra: bool = False) -> Denominators:
        """Counts over an optimizer batch made of `rows`: over the episodes' samples, or over the others."""
        counts = np.diff(self.starts)[[row for row in rows if self.samples[row].extra == extra]]
        return Denominators(float(counts.sum()), float((counts > 0).sum()), float(micro_batches))


def pack(samples: Sequence[Sample], device: torch.device, view: int | None = None) -> Packed:
    """Samples end to end, what they begin with alike once; their policy tokens are the scored ones, in order.

    With a `view` each body follows that teacher's prompt, which it must have.
    """
    sequences = []
    for sample in samples:
        scored = [i for i, chosen in enumerate(sample.policy, len(sample.prompt_of(view))) if chosen]
        sequences.append((sample.sequence(view), scored))
    return Packed.from_sequences(sequences, share=True).to(device)


def step_inputs(
    batch: Batch, groups: Sequence[Group], needs: frozenset[Stream], when: tuple[int, int]
) -> StepInputs:
    """The whole batch and the episodes it is made of. `when` is as in `loss_inputs`."""
    device = batch.adv_M.device
    owners = np.array([sample.trajectory for sample in batch.samples], np.int64)
    members = [number for number, group in enumerate(groups) for _ in group.trajectories]
    episodes = [trajectory for group in groups for trajectory in group.trajectories]
    rewards, anchors = turn_tables(episodes, members)
    taught = [batch.marks(batch.taught_by(view)) for view in range(1 + len(batch.more_teachers))]
    return StepInputs(
        adv_M=batch.adv_M,
        episode_M=torch.from_numpy(np.repeat(owners, np.diff(batch.starts))).to(device),
        turn_M=batch.turn_M,
        group_E=torch.tensor(members, dtype=torch.int64, device=device),
        success_E=torch.tensor([episode.success for episode in episodes], dtype=torch.bool, device=device),
        skilled_E=torch.tensor([episode.skilled for episode in episodes], dtype=torch.bool, device=device),
        reward_EK=torch.from_numpy(rewards).to(batch.adv_M),
        anchor_EK=torch.from_numpy(anchors).to(device),
        taught_M=taught[0] if Stream.TEACHER in batch.streams else batch.marks([]),
        streams={stream: batch.streams[stream] for stream in needs & batch.streams.keys()},
        more_teachers_MV=torch.stack(batch.more_teachers, -1) if batch.more_teachers else None,
        more_taught_MV=torch.stack(taught[1:], -1) if batch.more_teachers else None,
        step=when[0],
        steps=when[1],
    )


def turn_tables(episodes: Sequence[Trajectory], groups: Sequence[int]) -> tuple[np.ndarray, Ints]:
    """Rewards and anchors [E, K] of the turns of episodes, as in `StepInputs`; `groups` are theirs."""
    shape = len(episodes), max((len(episode.turns) for episode in episodes), default=0)
    rewards, anchors = np.zeros(shape), np.full(shape, -1, np.int64)
    known: dict[tuple[int, str], int] = {}
    for row, (group, episode) in enumerate(zip(groups, episodes, strict=True)):
        for column, turn in enumerate(episode.turns):
            rewards[row, column] = turn.reward
            anchors[row, column] = known.setdefault((group, turn.observation.text), len(known))
    return rewards, anchors


def loss_inputs(
    batch: Batch,
    rows: Sequence[int],
    scores: TokenScores,
    needs: frozenset[Stream],
    denominators: Denominators,
    when: tuple[int, int],
    extra_denominators: Denominators = NO_TOKENS,
) -> LossInputs:
    """Scatter the streams of `rows` to [B, T, ...]: row = sample, column = policy token.

    `scores` are the live ones of those rows, with gradient, in the order of `rows`. `when` is
    the training step, counted from 0, and the number of steps of the run.
    """
    columns = batch.columns(rows)
    counts = torch.from_numpy(np.diff(batch.starts)[list(rows)]).to(columns.device)
    mask_BT = torch.arange(int(counts.max()), device=columns.device) < counts[:, None]

    def matrix(flat: Tensor) -> Tensor:
        places = mask_BT.reshape(*mask_BT.shape, *[1] * (flat.dim() - 1))
        return flat.new_zeros(*mask_BT.shape, *flat.shape[1:]).masked_scatter(places, flat)

    def mark_BT(is_marked: Callable[[int], bool]) -> Tensor:
        marks = [[is_marked(row)] for row in rows]
        return mask_BT & torch.tensor(marks, dtype=torch.bool, device=mask_BT.device)

    present = needs & batch.streams.keys()
    optional = {stream.tensor: matrix(batch.streams[stream][columns]) for stream in present}
    if Stream.TEACHER in present:
        views = [set(batch.taught_by(view)) for view in range(1 + len(batch.more_teachers))]
        masks = [mark_BT(taught.__contains__) for taught in views]
        optional["teacher_mask_BT"] = masks[0]
        if batch.more_teachers:
            optional["more_teachers_BTV"] = matrix(torch.stack(batch.more_teachers, -1)[columns])
            optional["more_teacher_masks_BTV"] = torch.stack(masks[1:], -1)
    if batch.extras:
        weights = [[batch.samples[row].weight] for row in rows]
        optional["weight_BT"] = torch.tensor(weights).to(scores.logp) * mask_BT
        optional["extra_mask_BT"] = mark_BT(lambda row: batch.samples[row].extra)
        optional["credited_mask_BT"] = mark_BT(lambda row: batch.samples[row].adv is not None)
    if scores.entropy is not None:
        optional["entropy_BT"] = matrix(scores.entropy)
    if scores.top is not None:
        optional["student_top_BTK"] = matrix(scores.top)
    return LossInputs(
        logp_BT=matrix(scores.logp),
        mask_BT=mask_BT,
        adv_BT=matrix(batch.adv_M[columns]),
        turn_BT=matrix(batch.turn_M[columns]),
        denominators=denominators,
        extra_denominators=extra_denominators,
        step=when[0],
        steps=when[1],
        **optional,
    )


def mini_batches(num_samples: int, size: int, seed: Sequence[int]) -> list[list[int]]:
    """A seeded shuffle of all samples, cut into about equal parts of about `size` (0: one part).

    >>> [len(part) for part in mini_batches(10, 4, [0])]
    [5, 5]
    """
    order = np.random.default_rng(list(seed)).permutation(num_samples)
    parts = max(1, round(num_samples / size)) if size else 1
    return [part.tolist() for part in np.array_split(order, parts)]


def runs(rows: Sequence[int], size: int) -> list[list[int]]:
    """`rows` in their order, cut into runs of `size` and a rest.

    >>> runs([3, 1, 4, 1, 5], 2)
    [[3, 1], [4, 1], [5]]
    """
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def micro_batches_of(rows: Sequence[int], size: int, ranks: int) -> list[list[int]]:
    """Cut `rows` into micro-batches of `size` samples in their order, and empty ones up to all ranks.

    >>> micro_batches_of([0, 1, 2, 3, 4], 2, ranks=2)
    [[0, 1], [2, 3], [4], []]
    """
    cut = runs(rows, size)
    return cut + [[] for _ in range(-len(cut) % ranks)]


def micro_batches(
    rows: Sequence[int],
    sequences: Sequence[Tokens],
    budget: int,
    ranks: int,
    *,
    backward: bool = True,
) -> list[list[int]]:
    """Cut `rows` into micro-batches of at most `budget` tokens (or one longer row), of about equal size.

    Rows that begin alike come together, and what they share counts once, and with a `backward` pass a little
    for each row that reads it. The number is a multiple of `ranks`, number i belongs to rank i % ranks, and
    micro-batches that are worked on at the same time are alike; some may be empty.

    >>> micro_batches([0, 1, 2, 3], [(5,) * 5, (6,) * 4, (7,) * 4, (8,) * 3], budget=9, ranks=1)
    [[0, 1], [2, 3]]
    >>> alike = [tuple(range(20)) + (row,) for row in range(3)]
    >>> micro_batches([0, 1, 2], alike, budget=26, ranks=1)
    [[0, 1, 2]]
    """
    order = sorted(rows, key=lambda row: sequences[row])
    if not order:
        return []
    ordered = [sequences[row] for row in order]
    first = [len(sequence) for sequence in ordered]
    same = [0, *(common_prefix(*pair) for pair in pairwise(ordered))]
    reads = 1 / _READS if backward else 0.0
    later = [n - k + k * reads if k >= MIN_SHARED else n for n, k in zip(first, same, strict=True)]

    def cut(limit: int) -> list[tuple[float, list[int]]]:
        """Micro-batches of rows in order, and their sizes."""
        sizes: list[float] = []
        parts: list[list[int]] = []
        for row, alone, behind in zip(order, first, later, strict=True):
            if parts and sizes[-1] + behind <= limit:
                sizes[-1] += behind
                parts[-1].append(row)
            else:
                sizes.append(float(alone))
                parts.append([row])
        return list(zip(sizes, parts, strict=True))

    low, high = max(first), max(budget, *first)
    number = -(-len(cut(high)) // ranks) * ranks
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(cut(middle)) <= number else (middle + 1, high)
    parts = [part for _, part in sorted(cut(high), key=lambda part: -part[0])]
    return parts + [[] for _ in range(number - len(parts))]
