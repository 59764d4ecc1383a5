"""The battery that every objective must pass; `sdar check objective NAME` and the tests run it.

Values cannot see a missing stop-gradient, and finite differences would reject a correct one, so the gradient
is compared with an *oracle*: its formula, derived by hand and written in NumPy, registered under the
objective's name in `sdar.objectives.oracles`. Without an oracle the report carries a warning, not a pass.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdar.errors import SdarError
from sdar.objectives.base import LIVE, LossInputs, Objective, Stream, objectives
from sdar.objectives.oracles import Expected, Oracle, oracles
from sdar.ops.reduce import Denominators

TOLERANCE = 1e-7
"""Relative difference from an oracle that rounding explains, where large terms cancel in float64."""


class Status(StrEnum):
    """How a check ended."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """The outcome of one check, and for a warning or failure the reason."""

    check: str
    status: Status
    detail: str = ""


class Report(tuple[Finding, ...]):
    """The findings of a battery, in order."""

    @property
    def passed(self) -> bool:
        """No check failed; there may be warnings."""
        return not self.failures

    @property
    def failures(self) -> list[str]:
        """Names of the checks that failed."""
        return [finding.check for finding in self if finding.status is Status.FAIL]


class Measured(NamedTuple):
    """A loss and its gradients, zero where there is none."""

    loss: Tensor
    grad_logp_BT: Tensor
    grad_entropy_BT: Tensor
    grad_student_top_BTK: Tensor


def check_objective(name: str, **settings: Any) -> Report:
    """Run the battery on a registered objective with these settings."""
    known = name in oracles
    return examine(objectives[name](**settings), oracles[name] if known else None)


def examine(objective: Objective, oracle: Oracle | None = None) -> Report:
    """Run the battery on an objective."""
    findings = []
    for name, check in CHECKS.items():
        reason = next(check(objective), "")
        findings.append(Finding(name, Status.FAIL if reason else Status.PASS, reason))
    findings.append(_check_oracle(objective, oracle))
    missing = [word for word in ("Source:", "Differences") if word not in (type(objective).__doc__ or "")]
    status = Status.WARN if missing else Status.PASS
    findings.append(Finding("documented", status, f"the docstring lacks {missing}" if missing else ""))
    return Report(findings)


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
        more_teachers_BTV=logp_BT[..., None] + normal(spread, rows, length, 2),
        more_teacher_masks_BTV=(torch.rand(rows, 1, 2, generator=random) < 0.5).expand(*shape, 2),
        denominators=Denominators(int(mask_BT.sum()), rows, 1),
        step=step,
    )
    return _fill(x, x.mask_BT, normal(50.0))


def oracle_batches() -> Iterator[LossInputs]:
    """What objectives and oracles are compared on: every clip and cut of the built-in ones is reached."""
    for seed in range(12):
        spread, step = (0.1, 0.5, 1.5, 12.0)[seed % 4], (0, 37, 1000)[seed % 3]
        yield random_inputs(seed, spread=spread, step=step, dropped=seed >= 8)


def measure(objective: Objective, x: LossInputs) -> Measured:
    """The loss of a batch and its gradients."""
    live = _live(x)
    loss = objective.loss(live).loss
    found = live.tensors()
    leaves = [found.get(name, torch.zeros_like(x.logp_BT, requires_grad=True)) for name in LIVE]
    grads = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return Measured(loss.detach(), *grads)


def split(x: LossInputs, sizes: list[int]) -> list[LossInputs]:
    """Cut a batch into micro-batches of these many rows, with the denominators of the whole."""
    return [_rows(x, indices) for indices in torch.arange(len(x.logp_BT)).split(sizes)]


def _live(x: LossInputs) -> LossInputs:
    """The batch with fresh leaves that require grad, as the trainer hands it over."""
    leaves = {n: v.detach().clone().requires_grad_() for n, v in x.tensors().items() if n in LIVE}
    return _replace(x, leaves)


def _replace(x: LossInputs, tensors: Mapping[str, Any]) -> LossInputs:
    return replace(x, **tensors)


def _rows(x: LossInputs, indices: Tensor) -> LossInputs:
    return _replace(x, {name: value[indices] for name, value in x.tensors().items()})


def _fill(x: LossInputs, keep_BT: Tensor, filler_BT: Tensor, only: str = "") -> LossInputs:
    """The batch with its floating tensors, or one of them, replaced by a filler where `keep_BT` is false."""
    chosen = {n: v for n, v in x.tensors().items() if (n == only if only else v.is_floating_point())}
    filled = {}
    for name, value in chosen.items():
        keep, filler = (t.reshape(*t.shape, *[1] * (value.dim() - t.dim())) for t in (keep_BT, filler_BT))
        filled[name] = torch.where(keep, value, filler)
    return _replace(x, filled)


def _differ(a: Measured, b: Measured) -> bool:
    return not all(torch.allclose(p, q, rtol=1e-9, atol=1e-12) for p, q in zip(a, b, strict=True))


def _finite(objective: Objective) -> Iterator[str]:
    """Finite loss and gradient on ordinary, extreme and one-token batches; exactly 0 on an all-masked one."""
    extreme = random_inputs(1, spread=60.0, step=10**6)
    floats = {n: v.float() for n, v in extreme.tensors().items() if v.is_floating_point()}
    batches = {
        "random": random_inputs(0),
        "extreme float32": _replace(extreme, floats),
        "one-token": random_inputs(2, rows=1, length=1),
    }
    for kind, x in batches.items():
        if not all(value.isfinite().all() for value in measure(objective, x)):
            yield f"the loss or its gradient is not finite on a batch of kind: {kind}"
    x = random_inputs(3)
    for counts in (x.denominators, Denominators(0, 0, 1)):
        empty = replace(x, mask_BT=torch.zeros_like(x.mask_BT), denominators=counts)
        if any(value.any() or value.isnan().any() for value in measure(objective, empty)):
            yield "the loss or its gradient is not exactly 0 on an all-masked batch"


def _masked(objective: Objective) -> Iterator[str]:
    """Masked tokens get no gradient; what they hold does not matter, nor the teacher where there is none."""
    x = random_inputs(4, dropped=True)
    result = measure(objective, x)
    for name, grad in zip(LIVE, result[1:], strict=True):
        if grad[~x.mask_BT].any():
            yield f"masked tokens get a gradient through {name}"
    zeros_BT = torch.zeros_like(x.logp_BT)
    if _differ(result, measure(objective, _fill(x, x.mask_BT, zeros_BT))):
        yield "values of masked tokens change the loss or its gradient"
    for name in ("teacher_BT", "teacher_entropy_BT", "teacher_top_BTK"):
        if _differ(result, measure(objective, _fill(x, x.taught_BT, zeros_BT, only=name))):
            yield f"{name} outside teacher_mask_BT changes the loss or its gradient"
    assert x.more_teacher_masks_BTV is not None
    further = _fill(x, x.more_teacher_masks_BTV, zeros_BT, only="more_teachers_BTV")
    if _differ(result, measure(objective, further)):
        yield "more_teachers_BTV outside more_teacher_masks_BTV changes the loss or its gradient"


def _split(objective: Objective) -> Iterator[str]:
    """Micro-batches add up to the whole batch."""
    for seed, sizes in enumerate(([1, 5], [2, 2, 2], [1] * 6)):
        x = random_inputs(seed)
        whole, parts = measure(objective, x), [measure(objective, part) for part in split(x, sizes)]
        loss = torch.stack([part.loss for part in parts]).sum()
        grads = (torch.cat(pieces) for pieces in zip(*(part[1:] for part in parts), strict=True))
        if _differ(whole, Measured(loss, *grads)):
            yield f"micro-batches of {sizes} rows do not add up to the loss or gradient of the whole batch"


def _permutation(objective: Objective) -> Iterator[str]:
    """The order of the rows does not matter."""
    x, order = random_inputs(5), torch.tensor([3, 0, 5, 1, 4, 2])
    result = measure(objective, x)
    expected = Measured(result.loss, *(grad[order] for grad in result[1:]))
    if _differ(expected, measure(objective, _rows(x, order))):
        yield "permuting the rows changes the loss or its gradient"


def _needs(objective: Objective) -> Iterator[str]:
    """`needs` lists the streams that `loss` reads, and no others."""
    x = random_inputs(6)
    full = measure(objective, x)
    result: Measured | None
    for stream in Stream:
        try:
            result = measure(objective, _replace(x, {stream.tensor: None}))
        except (SdarError, TypeError, AttributeError):
            result = None
        if stream in objective.needs and result is not None:
            yield f"needs lists '{stream}', but the loss runs without it"
        if stream not in objective.needs and (result is None or _differ(full, result)):
            yield f"the loss reads '{stream}', but needs does not list it"


def _views(objective: Objective) -> Iterator[str]:
    """`views` names as many teachers as `loss` reads."""
    x = random_inputs(8)
    alone = _replace(x, {"more_teachers_BTV": None, "more_teacher_masks_BTV": None})
    try:
        reads_more = _differ(measure(objective, x), measure(objective, alone))
    except (SdarError, TypeError, AttributeError):
        reads_more = True
    if reads_more != (len(objective.views) > 1):
        yield f"views names {list(objective.views)}, and the loss reads {'more' if reads_more else 'one'}"


def _metrics(objective: Objective) -> Iterator[str]:
    """Metrics have path names, carry no gradient, are finite, add up, and do not look at masked tokens."""
    x = random_inputs(7, dropped=True)
    clean = _fill(x, x.mask_BT, torch.zeros_like(x.logp_BT))
    whole, *parts = (objective.loss(_live(part)).metrics for part in (x, *split(clean, [2, 4])))
    for name, metric in whole.items():
        if "/" not in name:
            yield f"metric '{name}' is not a path like 'sdar/{name}'"
        if metric.sum.requires_grad or metric.weight.requires_grad:
            yield f"metric '{name}' carries gradient"
        if not (metric.sum.isfinite() and metric.weight.isfinite()):
            yield f"metric '{name}' is not finite"
        if any(name not in part for part in parts):
            yield f"metric '{name}' is missing in some micro-batches"
            return
        for field in range(2):
            total = torch.stack([part[name][field].double() for part in parts]).sum()
            if not torch.allclose(total, metric[field].double(), rtol=1e-6):
                yield f"metric '{name}' reads masked tokens or does not add up over micro-batches"


def _streams(objective: Objective) -> Iterator[str]:
    """What is shown token by token has the batch's shape, carries no gradient, and is finite."""
    x = random_inputs(8, dropped=True)
    for name, value_BT in objective.loss(_live(x)).streams.items():
        if value_BT.shape != x.mask_BT.shape:
            yield f"stream '{name}' has shape {tuple(value_BT.shape)}, not [sequences, tokens]"
        elif value_BT.requires_grad:
            yield f"stream '{name}' carries gradient"
        elif not value_BT[x.mask_BT].isfinite().all():
            yield f"stream '{name}' is not finite"


def _settings(objective: Objective) -> Iterator[str]:
    """Settings are plain values: written and read back they give the same objective."""
    try:
        copy = type(objective)(**json.loads(json.dumps(asdict(objective))))
    except TypeError as error:
        yield f"settings cannot be written and read back: {error}"
        return
    if copy != objective:
        yield "settings change when they are written and read back"


CHECKS: Mapping[str, Callable[[Objective], Iterator[str]]] = {
    "finite": _finite,
    "masked": _masked,
    "split": _split,
    "permutation": _permutation,
    "needs": _needs,
    "views": _views,
    "metrics": _metrics,
    "streams": _streams,
    "settings": _settings,
}
"""Each check yields the reasons to fail; the docstring of its function says what it asserts."""


def _check_oracle(objective: Objective, oracle: Oracle | None) -> Finding:
    """Loss and gradient equal the oracle's, at several steps, near and far from the behaviour policy."""
    if oracle is None:
        return Finding("oracle", Status.WARN, "no oracle is registered: the gradient was not verified")
    for x in oracle_batches():
        tensors = {name: value.numpy() for name, value in x.tensors().items()}
        expected, result = oracle(objective, tensors, x.denominators, x.step), measure(objective, x)
        for what, theirs, ours in zip(Expected._fields, map(np.asarray, expected), result, strict=True):
            gap = float(np.max(np.abs(ours.numpy() - theirs) / (np.abs(theirs) + 1e-3)))
            if not gap < TOLERANCE:
                return Finding("oracle", Status.FAIL, f"{what} is off by a relative {gap:.1e}")
    return Finding("oracle", Status.PASS)
