"""Random batches and steps on which objectives are checked, and what is done to them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sdar.objectives.base import LossInputs, StepInputs, Stream
from sdar.ops.reduce import Denominators


def random_inputs(
    seed: int, *, rows: int = 6, length: int = 9, spread: float = 0.5, step: int = 0, dropped: bool = False
) -> LossInputs:
    """A float64 batch with every stream, ragged rows and garbage where the mask is false.

    `spread` is the standard deviation of each stream's distance from `logp_BT`: 0.5 reaches the clips, 12 the
    cuts before `exp`. With `dropped`, about half of the rows have no teacher.
    """
    random = torch.Generator().manual_seed(seed)
    shape = (rows, length)

    def normal(scale: float, *size: int) -> Tensor:
        return scale * torch.randn(size or shape, generator=random, dtype=torch.float64)

    lengths_B1 = torch.randint(1, length + 1, (rows, 1), generator=random)
    mask_BT = torch.arange(length) < lengths_B1
    turn_BT = (torch.arange(length) // 3).expand(shape)
    adv_BT = normal(1.5, rows, length).gather(1, turn_BT)
    adv_BT[0] = 0.0
    logp_BT = -normal(1.5).abs()
    x = LossInputs(
        logp_BT=logp_BT,
        mask_BT=mask_BT,
        adv_BT=adv_BT,
        turn_BT=turn_BT,
        old_BT=logp_BT + normal(spread),
        ref_BT=logp_BT + normal(spread),
        teacher_BT=logp_BT + normal(spread),
        teacher_mask_BT=(torch.rand(rows, 1, generator=random) < 0.5).expand(shape) if dropped else None,
        entropy_BT=normal(1.0).abs(),
        teacher_entropy_BT=normal(1.0).abs(),
        teacher_top_BTK=normal(spread, rows, length, 5).log_softmax(-1),
        student_top_BTK=normal(spread, rows, length, 5).log_softmax(-1),
        rollout_BT=logp_BT + normal(spread),
        span_BT=torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(seed)),
        more_teachers_BTV=logp_BT[..., None] + normal(spread, rows, length, 2),
        more_teacher_masks_BTV=(torch.rand(rows, 1, 2, generator=random) < 0.5).expand(*shape, 2),
        denominators=Denominators(int(mask_BT.sum()), rows, 1),
        step=step,
    )
    return filled(x, x.mask_BT, normal(50.0))


def with_extras(x: LossInputs) -> LossInputs:
    """The batch with every second row for an extra sample, two thirds of which have an advantage."""
    row_BT = torch.arange(len(x.mask_BT))[:, None].expand(x.mask_BT.shape)
    extra_BT = row_BT % 2 == 1
    counts = [(x.mask_BT & kind_BT).sum(1) for kind_BT in (~extra_BT, extra_BT)]
    own, extra = (Denominators(float(count_B.sum()), float((count_B > 0).sum()), 1) for count_B in counts)
    return replace(
        x,
        extra_mask_BT=extra_BT & x.mask_BT,
        credited_mask_BT=extra_BT & x.mask_BT & (row_BT < 4),
        weight_BT=(0.03 + 0.15 * row_BT).to(x.logp_BT) * x.mask_BT,
        denominators=own,
        extra_denominators=extra,
    )


def random_step(seed: int) -> StepInputs:
    """A float64 step: two groups of three episodes of one to four turns, its tokens shuffled.

    Some tokens lack one teacher or the other, one group has no success, and some turns began alike. The
    training step is one of the first, of the middle or of the end of a long run.
    """
    random = torch.Generator().manual_seed(seed)

    def numbers(high: int, size: int) -> Tensor:
        return torch.randint(1, high + 1, (size,), generator=random)

    turns_E = numbers(4, 6)
    places = torch.cat(
        [torch.stack([turns_E.new_full((n,), e), torch.arange(n)]) for e, n in enumerate(turns_E)], 1
    )
    place_2M = places.repeat_interleave(numbers(3, places.shape[1]), dim=1)
    episode_M, turn_M = place_2M[:, torch.randperm(place_2M.shape[1], generator=random)]
    count = len(turn_M)
    adv_EK = torch.randn(6, 4, generator=random, dtype=torch.float64)
    noise = torch.randn(len(Stream), count, generator=random, dtype=torch.float64)
    played_EK = torch.arange(4) < turns_E[:, None]
    reward_EK = torch.randn(6, 4, generator=random, dtype=torch.float64)
    anchor_EK = torch.randint(0, 3, (6, 4), generator=random) + torch.tensor([[0], [0], [0], [3], [3], [3]])
    return StepInputs(
        adv_M=adv_EK[episode_M, turn_M],
        episode_M=episode_M,
        turn_M=turn_M,
        group_E=torch.tensor([0, 0, 0, 1, 1, 1]),
        success_E=torch.tensor([True, False, True, False, False, False]),
        skilled_E=torch.tensor([False, True, False, True, False, True]),
        reward_EK=reward_EK * played_EK,
        anchor_EK=anchor_EK.where(played_EK, -1),
        taught_M=torch.rand(count, generator=random) < 0.8,
        streams={**dict(zip(Stream, noise - 1.5, strict=True)), Stream.SPAN: turn_M % 4},
        more_teachers_MV=torch.randn(count, 2, generator=random, dtype=torch.float64) - 1.5,
        more_taught_MV=torch.rand(count, 2, generator=random) < 0.8,
        step=(37, 0, 1000)[seed % 3],
        steps=1001,
    )


def oracle_batches() -> Iterator[LossInputs]:
    """What objectives and oracles are compared on: every clip and cut of the built-in ones is reached."""
    for seed in range(12):
        spread, step = (0.1, 0.5, 1.5, 12.0)[seed % 4], (0, 37, 1000)[seed % 3]
        yield random_inputs(seed, spread=spread, step=step, dropped=seed >= 8)


def split(x: LossInputs, sizes: list[int]) -> list[LossInputs]:
    """Cut a batch into micro-batches of these many rows, with the denominators of the whole."""
    return [with_rows(x, indices) for indices in torch.arange(len(x.logp_BT)).split(sizes)]


def with_tensors(x: LossInputs, tensors: Mapping[str, Any]) -> LossInputs:
    """The batch with other tensors under these names."""
    return replace(x, **tensors)


def with_rows(x: LossInputs, indices: Tensor) -> LossInputs:
    """The batch with those rows, in that order."""
    return with_tensors(x, {name: value[indices] for name, value in x.tensors().items()})


def filled(x: LossInputs, keep_BT: Tensor, filler_BT: Tensor, only: str = "") -> LossInputs:
    """The batch with its floating tensors, or one of them, replaced by a filler where `keep_BT` is false."""
    chosen = {n: v for n, v in x.tensors().items() if (n == only if only else v.is_floating_point())}
    new = {}
    for name, value in chosen.items():
        keep, filler = (t.reshape(*t.shape, *[1] * (value.dim() - t.dim())) for t in (keep_BT, filler_BT))
        new[name] = torch.where(keep, value, filler)
    return with_tensors(x, new)


def with_tokens(x: StepInputs, order: Tensor) -> StepInputs:
    """The step with its tokens in that order."""
    names = ("adv_M", "episode_M", "turn_M", "taught_M", "more_teachers_MV", "more_taught_MV")
    named = {name: getattr(x, name)[order] for name in names}
    return replace(x, **named, streams={name: value[order] for name, value in x.streams.items()})
