"""Loss and gradient of the built-in objectives that learn from extra samples, by hand in NumPy."""

from dataclasses import replace
from typing import Any

import numpy as np

from sdar.objectives.oracles import Expected, Tensors, Token, _expected, _policy, oracles
from sdar.ops.reduce import Denominators

ACTION = 2


def counted(x: Tensors, kind: str) -> tuple[Tensors, Denominators]:
    """The episodes' samples (`own`) or the extra ones of a whole batch, with their counts."""
    extra_BT = x["extra_mask_BT"]
    mask_BT = x["mask_BT"] & (extra_BT if kind == "extra" else ~extra_BT)
    rows = float(mask_BT.any(1).sum())
    return {**x, "mask_BT": mask_BT}, Denominators(max(1.0, float(mask_BT.sum())), max(1.0, rows), 1)


def both(objective: Any, x: Tensors, own: Token, extra: Token) -> Expected:
    """Loss and gradient of a term on each kind of sample."""
    parts = [_expected(objective, *counted(x, kind), term) for kind, term in (("own", own), ("extra", extra))]
    return Expected(*(one + other for one, other in zip(*parts, strict=True)))


@oracles.register("ucob")
def ucob(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """Token by token on extra samples; the derivative of the divergence is p - q, that of the rest 0."""
    has_BT = x["extra_mask_BT"] & x.get("teacher_mask_BT", True)
    value_BT, d_top_BTK = np.zeros_like(x["logp_BT"]), np.zeros_like(x["student_top_BTK"])
    for at in zip(*np.nonzero(has_BT), strict=True):
        margin = x["weight_BT"][at]
        if margin <= objective.least:
            continue
        weight = objective.coef * min(margin / objective.scale, objective.cap)
        weight *= objective.action_weight if x["span_BT"][at] == ACTION else 1.0
        weight *= (1 + np.tanh(objective.beta * (x["teacher_BT"][at] - x["logp_BT"][at]) / 2)) / 2
        p, q = (np.exp(x[name][at][:-1]) for name in ("student_top_BTK", "teacher_top_BTK"))
        p, q = p / p.sum(), q / q.sum()
        value_BT[at] = weight * (q * (np.log(q) - np.log(p))).sum()
        d_top_BTK[at][:-1] = weight * (p - q)
    own = _policy(objective, counted(x, "own")[0], x["adv_BT"])
    return both(objective, x, own, Token(value_BT, d_student_top_BTK=d_top_BTK))


@oracles.register("ovcsd")
def ovcsd(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """On extra samples the policy gradient where they are credited, and the KL where they have a teacher."""
    bare = replace(objective, pg_coef=1.0, kl_coef=0.0, entropy_coef=0.0, tis_cap=0.0, ratio="token")
    credited_BT, has_BT = x["credited_mask_BT"], x.get("teacher_mask_BT", True) & x["extra_mask_BT"]
    fork = _policy(bare, x, np.where(credited_BT, x["adv_BT"], 0.0))
    s, t = x["student_top_BTK"], x["teacher_top_BTK"]
    q, scale_BT = np.exp(t), objective.coef * x["weight_BT"] * has_BT
    value_BT = objective.fork_coef * fork.value_BT * credited_BT + scale_BT * (q * (t - s)).sum(-1)
    d_logp_BT = objective.fork_coef * fork.d_logp_BT * credited_BT
    extra = Token(value_BT, d_logp_BT, d_student_top_BTK=-q * scale_BT[..., None])
    own = _policy(objective, counted(x, "own")[0], x["adv_BT"])
    return both(objective, x, own, extra)
