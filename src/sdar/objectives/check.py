"""The battery that every objective must pass; `sdar check objective NAME` and the tests run it.

Values cannot see a missing stop-gradient, and finite differences would reject a correct one, so the gradient
is compared with an *oracle*: its formula, derived by hand and written in NumPy, registered under the
objective's name in `sdar.objectives.oracles`; likewise what `credit` gives, where an objective has its own.
Without an oracle the report carries a warning, not a pass.
"""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdar.errors import SdarError
from sdar.objectives import credit_oracles as _of_credit  # noqa: F401 - registers
from sdar.objectives import extra_oracles as _of_extras  # noqa: F401 - registers
from sdar.objectives.base import LIVE, LossInputs, Objective, Stream, objectives
from sdar.objectives.batches import (
    filled,
    oracle_batches,
    random_inputs,
    random_step,
    split,
    with_extras,
    with_rows,
    with_tensors,
    with_tokens,
)
from sdar.objectives.oracles import CreditOracle, Expected, Oracle, credit_oracles, oracles
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
    return check_named(name, objectives[name](**settings))


def check_named(name: str, objective: Objective) -> Report:
    """Run the battery on an objective, with the oracles that are registered under that name."""
    known, credited = name in oracles, name in credit_oracles
    return examine(objective, oracles[name] if known else None, credit_oracles[name] if credited else None)


def examine(
    objective: Objective, oracle: Oracle | None = None, credit_oracle: CreditOracle | None = None
) -> Report:
    """Run the battery on an objective."""
    findings = []
    for name, check in CHECKS.items():
        findings.append(_guarded(name, partial(_first_reason, name, check, objective)))
    findings.append(_guarded("oracle", partial(_check_oracle, objective, oracle)))
    if type(objective).credit is not Objective.credit:
        found = _guarded("credit oracle", partial(_check_credit_oracle, objective, credit_oracle))
        findings.append(found)
    missing = [word for word in ("Source:", "Differences") if word not in (type(objective).__doc__ or "")]
    status = Status.WARN if missing else Status.PASS
    findings.append(Finding("documented", status, f"the docstring lacks {missing}" if missing else ""))
    return Report(findings)


def _first_reason(name: str, check: Callable[[Objective], Iterator[str]], objective: Objective) -> Finding:
    reason = next(check(objective), "")
    return Finding(name, Status.FAIL if reason else Status.PASS, reason)


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """What the check found; that the objective's own code raises is a finding too."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - the rule under test
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Finding(name, Status.FAIL, f"{said} ({Path(place.filename).name}:{place.lineno})")


def measure(objective: Objective, x: LossInputs) -> Measured:
    """The loss of a batch and its gradients."""
    live = _live(x)
    loss = objective.loss(live).loss
    found = live.tensors()
    leaves = [found.get(name, torch.zeros_like(x.logp_BT, requires_grad=True)) for name in LIVE]
    grads = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return Measured(loss.detach(), *grads)


def _live(x: LossInputs) -> LossInputs:
    """The batch with fresh leaves that require grad, as the trainer hands it over."""
    leaves = {n: v.detach().clone().requires_grad_() for n, v in x.tensors().items() if n in LIVE}
    return with_tensors(x, leaves)


def _differ(a: Measured, b: Measured) -> bool:
    return not all(torch.allclose(p, q, rtol=1e-9, atol=1e-12) for p, q in zip(a, b, strict=True))


def _inputs(objective: Objective, seed: int, **kind: Any) -> LossInputs:
    """A random batch, with extra samples for an objective that learns from them."""
    x = random_inputs(seed, **kind)
    return with_extras(x) if objective.extras else x


def _finite(objective: Objective) -> Iterator[str]:
    """Finite loss and gradient on ordinary, extreme and one-token batches; exactly 0 on an all-masked one."""
    extreme = _inputs(objective, 1, spread=60.0, step=10**6)
    floats = {n: v.float() for n, v in extreme.tensors().items() if v.is_floating_point()}
    batches = {
        "random": _inputs(objective, 0),
        "extreme float32": with_tensors(extreme, floats),
        "one-token": _inputs(objective, 2, rows=1, length=1),
    }
    for kind, x in batches.items():
        if not all(value.isfinite().all() for value in measure(objective, x)):
            yield f"the loss or its gradient is not finite on a batch of kind: {kind}"
    x = _inputs(objective, 3)
    for counts in (x.denominators, Denominators(0, 0, 1)):
        empty = replace(x, mask_BT=torch.zeros_like(x.mask_BT), denominators=counts)
        if any(value.any() or value.isnan().any() for value in measure(objective, empty)):
            yield "the loss or its gradient is not exactly 0 on an all-masked batch"


def _masked(objective: Objective) -> Iterator[str]:
    """Masked tokens get no gradient; what they hold does not matter, nor the teacher where there is none."""
    x = _inputs(objective, 4, dropped=True)
    result = measure(objective, x)
    for name, grad in zip(LIVE, result[1:], strict=True):
        if grad[~x.mask_BT].any():
            yield f"masked tokens get a gradient through {name}"
    zeros_BT = torch.zeros_like(x.logp_BT)
    if _differ(result, measure(objective, filled(x, x.mask_BT, zeros_BT))):
        yield "values of masked tokens change the loss or its gradient"
    for name in ("teacher_BT", "teacher_entropy_BT", "teacher_top_BTK"):
        if _differ(result, measure(objective, filled(x, x.taught_BT, zeros_BT, only=name))):
            yield f"{name} outside teacher_mask_BT changes the loss or its gradient"
    assert x.more_teacher_masks_BTV is not None
    further = filled(x, x.more_teacher_masks_BTV, zeros_BT, only="more_teachers_BTV")
    if _differ(result, measure(objective, further)):
        yield "more_teachers_BTV outside more_teacher_masks_BTV changes the loss or its gradient"


def _split(objective: Objective) -> Iterator[str]:
    """Micro-batches add up to the whole batch."""
    for seed, sizes in enumerate(([1, 5], [2, 2, 2], [1] * 6)):
        x = _inputs(objective, seed)
        whole, parts = measure(objective, x), [measure(objective, part) for part in split(x, sizes)]
        loss = torch.stack([part.loss for part in parts]).sum()
        grads = (torch.cat(pieces) for pieces in zip(*(part[1:] for part in parts), strict=True))
        if _differ(whole, Measured(loss, *grads)):
            yield f"micro-batches of {sizes} rows do not add up to the loss or gradient of the whole batch"


def _permutation(objective: Objective) -> Iterator[str]:
    """The order of the rows does not matter."""
    x, order = _inputs(objective, 5), torch.tensor([3, 0, 5, 1, 4, 2])
    result = measure(objective, x)
    expected = Measured(result.loss, *(grad[order] for grad in result[1:]))
    if _differ(expected, measure(objective, with_rows(x, order))):
        yield "permuting the rows changes the loss or its gradient"


def _needs(objective: Objective) -> Iterator[str]:
    """`needs` lists the streams that `loss` and `credit` read, and no others."""
    x, step = _inputs(objective, 6), random_step(6)
    full, given_M = measure(objective, x), objective.credit(step).adv_M
    for stream in Stream:
        others = {name: value for name, value in step.streams.items() if name != stream}
        try:
            result = measure(objective, with_tensors(x, {stream.tensor: None}))
            left_M = objective.credit(replace(step, streams=others)).adv_M
            missed = False
        except (SdarError, TypeError, AttributeError, KeyError):
            missed = True
        if stream in objective.needs and not missed:
            yield f"needs lists '{stream}', but the loss runs without it"
        if stream not in objective.needs and (
            missed or _differ(full, result) or not torch.equal(given_M, left_M)
        ):
            yield f"the loss reads '{stream}', but needs does not list it"


def _credit(objective: Objective) -> Iterator[str]:
    """Advantages of a step are finite; neither the order of its tokens nor missing teachers change them."""
    x = random_step(9)
    given = objective.credit(x)
    if given.adv_M.shape != x.adv_M.shape or not given.adv_M.isfinite().all():
        yield "credit does not give a finite advantage for each token"
        return
    order = torch.randperm(len(x.adv_M), generator=torch.Generator().manual_seed(0))
    if not torch.allclose(objective.credit(with_tokens(x, order)).adv_M, given.adv_M[order]):
        yield "permuting the tokens of a step changes their credit"
    elsewhere = {Stream.TEACHER: x.streams[Stream.TEACHER].where(x.taught_M, 50.0)}
    if not torch.equal(objective.credit(replace(x, streams={**x.streams, **elsewhere})).adv_M, given.adv_M):
        yield "credit reads the teacher outside taught_M"


def _views(objective: Objective) -> Iterator[str]:
    """`views` names as many teachers as `loss` and `credit` read."""
    x, step = _inputs(objective, 8), random_step(8)
    alone = with_tensors(x, {"more_teachers_BTV": None, "more_teacher_masks_BTV": None})
    single = replace(step, more_teachers_MV=None, more_taught_MV=None)
    try:
        reads_more = _differ(measure(objective, x), measure(objective, alone)) or not torch.equal(
            objective.credit(step).adv_M, objective.credit(single).adv_M
        )
    except (SdarError, TypeError, AttributeError):
        reads_more = True
    if reads_more != (len(objective.views) > 1):
        yield f"views names {list(objective.views)}, and the loss reads {'more' if reads_more else 'one'}"


def _metrics(objective: Objective) -> Iterator[str]:
    """Metrics have path names, carry no gradient, are finite, add up, and do not look at masked tokens."""
    x = _inputs(objective, 7, dropped=True)
    clean = filled(x, x.mask_BT, torch.zeros_like(x.logp_BT))
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
    x = _inputs(objective, 8, dropped=True)
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
    "credit": _credit,
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
    for batch in oracle_batches():
        x = with_extras(batch) if objective.extras else batch
        tensors = {name: value.numpy() for name, value in x.tensors().items()}
        expected, result = oracle(objective, tensors, x.denominators, x.step), measure(objective, x)
        for what, theirs, ours in zip(Expected._fields, map(np.asarray, expected), result, strict=True):
            gap = float(np.max(np.abs(ours.numpy() - theirs) / (np.abs(theirs) + 1e-3)))
            if not gap < TOLERANCE:
                return Finding("oracle", Status.FAIL, f"{what} is off by a relative {gap:.1e}")
    return Finding("oracle", Status.PASS)


def _check_credit_oracle(objective: Objective, oracle: CreditOracle | None) -> Finding:
    """The advantages of several steps equal the oracle's."""
    if oracle is None:
        return Finding("credit oracle", Status.WARN, "no oracle is registered: credit was not verified")
    for seed in range(12):
        x = random_step(seed)
        gap = float((objective.credit(x).adv_M - torch.from_numpy(oracle(objective, x))).abs().max())
        if not gap < TOLERANCE:
            return Finding("credit oracle", Status.FAIL, f"an advantage is off by {gap:.1e}")
    return Finding("credit oracle", Status.PASS)
