"""Loss and gradient of every built-in objective, derived by hand in NumPy: what the battery compares with.

Nothing here uses autograd or the tensor functions of `ops`. Each oracle writes the loss per token and its
derivative in the live log-prob; what an objective stops the gradient of is a constant in the derivative.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sdar.objectives.base import StepInputs
from sdar.ops.reduce import Denominators
from sdar.settings.registry import Registry

Tensors = Mapping[str, np.ndarray]
NONE = np.zeros(())


class Expected(NamedTuple):
    """The loss and its gradient with respect to the live tensors of `LossInputs`; one left out is 0."""

    loss: float
    grad_logp_BT: np.ndarray
    grad_entropy_BT: np.ndarray = NONE
    grad_student_top_BTK: np.ndarray = NONE


Oracle = Callable[[Any, Tensors, Denominators, int], Expected]
"""`(objective, tensors, denominators, step) -> Expected`; tensors by their name in `LossInputs`."""

oracles: Registry[Oracle] = Registry("oracle")

CreditOracle = Callable[[Any, StepInputs], np.ndarray]
"""`(objective, step) -> adv_M`, for an objective that sets the advantages itself."""

credit_oracles: Registry[CreditOracle] = Registry("credit oracle")


class Token(NamedTuple):
    """A loss per token and its derivatives with respect to the live tensors at that token."""

    value_BT: np.ndarray
    d_logp_BT: np.ndarray = NONE
    d_entropy_BT: np.ndarray = NONE
    d_student_top_BTK: np.ndarray = NONE

    def plus(self, coef: float, other: "Token") -> "Token":
        """This loss plus `coef` times another."""
        return Token(*(mine + coef * its for mine, its in zip(self, other, strict=True)))


def _expected(objective: Any, x: Tensors, counts: Denominators, token: Token) -> Expected:
    """Reduce a token loss: each derivative is scaled by the token's weight in the reduction."""
    mask_BT = x["mask_BT"].astype(float)
    weight_BT = {
        "token": mask_BT / counts.tokens,
        "sequence": mask_BT / mask_BT.sum(1, keepdims=True).clip(1) / counts.sequences,
        "constant-length": mask_BT / counts.sequences / max(objective.max_length, 1),
        "micro-batch-mean": mask_BT / mask_BT.sum() / max(counts.micro_batches, 1),
    }[objective.reduction]
    value_BT, d_logp_BT, d_entropy_BT = (weight_BT * part_BT for part_BT in token[:3])
    d_student_top_BTK = weight_BT[..., None] * token.d_student_top_BTK * np.ones_like(x["student_top_BTK"])
    return Expected(float(value_BT.sum()), d_logp_BT, d_entropy_BT, d_student_top_BTK)


def _policy(objective: Any, x: Tensors, adv_BT: np.ndarray) -> Token:
    """The GRPO term. Between its clips, d(-A r) = -A r and d k3(logp, ref) = 1 - exp(ref - logp).

    So it is for the ratio of a sequence too: each token's share of it is taken for its own.
    """
    drift_BT = x["logp_BT"] - x["old_BT"]
    if objective.ratio == "sequence":
        rows = zip(drift_BT, x["mask_BT"], strict=True)
        drift_BT = np.stack([np.full(mask_T.shape, drift_T[mask_T].mean()) for drift_T, mask_T in rows])
    ratio_BT = np.exp(np.minimum(drift_BT, 20))
    floor_BT = np.where(adv_BT < 0, 1 - objective.clip_low, 0)
    ceiling_BT = np.where(adv_BT < 0, objective.dual_clip, 1 + objective.clip_high)
    free_BT = (ratio_BT > floor_BT) & (ratio_BT < ceiling_BT) & (drift_BT < 20)
    clipped_BT = np.minimum(np.maximum(ratio_BT, floor_BT), ceiling_BT)
    weight_BT = np.ones_like(adv_BT)
    if objective.tis_cap:
        weight_BT = np.exp(np.minimum(x["old_BT"] - x["rollout_BT"], np.log(objective.tis_cap)))
    surrogate = Token(-weight_BT * adv_BT * clipped_BT, -weight_BT * adv_BT * ratio_BT * free_BT)

    distance_BT = x["ref_BT"] - x["logp_BT"]
    growth_BT = np.exp(np.minimum(distance_BT, 20))
    kl_BT = growth_BT - 1 - distance_BT
    reference = Token(np.minimum(kl_BT, 10), np.where(kl_BT < 10, 1 - growth_BT, 0))

    entropy = Token(x["entropy_BT"], d_entropy_BT=np.ones_like(adv_BT))
    token = Token(np.zeros_like(adv_BT)).plus(objective.pg_coef, surrogate)
    return token.plus(objective.kl_coef, reference).plus(-objective.entropy_coef, entropy)


def _taught(x: Tensors, token: Token) -> Token:
    """A distillation term: 0 where there is no teacher."""
    has_BT = np.broadcast_to(x.get("teacher_mask_BT", True), x["logp_BT"].shape)
    value_BT, d_logp_BT, d_entropy_BT = (np.where(has_BT, part_BT, 0) for part_BT in token[:3])
    return Token(value_BT, d_logp_BT, d_entropy_BT, np.where(has_BT[..., None], token.d_student_top_BTK, 0))


def _distance(objective: Any, x: Tensors) -> Token:
    """The divergence to the teacher named in the settings; s and t are log-probs of student and teacher."""
    logp_BT, s, t = x["logp_BT"], x["student_top_BTK"], x["teacher_top_BTK"]
    gap_BT = x["teacher_BT"] - logp_BT
    growth_BT = np.exp(np.minimum(gap_BT, 20))
    p, q = np.exp(s), np.exp(t)
    m = np.log(p + q) - np.log(2)
    tokens: dict[str, Callable[[], Token]] = {
        "likelihood": lambda: Token(gap_BT, -np.ones_like(gap_BT)),
        "sampled-reverse-kl": lambda: Token(-gap_BT * logp_BT, -gap_BT),
        "k2": lambda: Token(gap_BT**2 / 2, -gap_BT),
        "k3": lambda: Token(growth_BT - 1 - gap_BT, 1 - growth_BT * (gap_BT < 20)),
        "reverse-kl": lambda: Token((p * (s - t)).sum(-1), d_student_top_BTK=p * (s - t + 1)),
        "forward-kl": lambda: Token((q * (t - s)).sum(-1), d_student_top_BTK=-q),
        # The derivatives of p and of the mixture cancel.
        "jensen-shannon": lambda: Token(
            (p * (s - m) + q * (t - m)).sum(-1) / 2, d_student_top_BTK=p * (s - m) / 2
        ),
    }
    return _taught(x, tokens[objective.divergence]())


@oracles.register("agent-opsd")
@oracles.register("bcsd")
@oracles.register("grsd")
@oracles.register("ocsd")
@oracles.register("opid")
@oracles.register("skill-grpo")
@oracles.register("grpo")
def grpo(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The policy term alone."""
    return _expected(objective, x, counts, _policy(objective, x, x["adv_BT"]))


@oracles.register("adrs")
def adrs(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The policy term alone, with the entropy bonus of the step."""
    return grpo(replace(objective, entropy_coef=between(objective.entropy_coef, step)), x, counts, step)


@oracles.register("opsd")
def opsd(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The divergence to the teacher alone."""
    return _expected(objective, x, counts, _distance(objective, x))


@oracles.register("grpo-opsd")
def grpo_opsd(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The policy term plus coef times that of `opsd`."""
    token = _policy(objective, x, x["adv_BT"]).plus(objective.coef, _distance(objective, x))
    return _expected(objective, x, counts, token)


@oracles.register("rlsd")
def rlsd(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The policy term with a constant factor, close to 1, on each advantage."""
    agreement_BT = np.sign(x["adv_BT"]) * (x["teacher_BT"] - x["old_BT"])
    bonus_BT = np.minimum(np.maximum(np.expm1(agreement_BT), -objective.eps), objective.eps)
    lam = _linear(objective.lam, step)
    bonus_BT = np.where(x.get("teacher_mask_BT", True), bonus_BT, 0)
    adv_BT = x["adv_BT"] * (1 + lam * bonus_BT)
    return _expected(objective, x, counts, _policy(objective, x, adv_BT))


def _linear(coef: float | str, step: int) -> float:
    """A number, or one that falls from START to 0 in the text `linear:START:0@0:STEPS`."""
    if not isinstance(coef, str):
        return coef
    start, length = float(coef.split(":")[1]), float(coef.split(":")[-1])
    return start * max(0.0, length - step) / length


def between(coef: float | str, step: int) -> float:
    """A number, or one that is on only in the steps of the text `VALUE@FROM:TO`."""
    if not isinstance(coef, str):
        return coef
    value, span = coef.split("@")
    first, end = map(int, span.split(":"))
    return float(value) if step in range(first, end) else 0.0


@oracles.register("skill-sd")
def skill_sd(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The product rule: d(rho k3) = rho' k3 + rho k3', each factor flat above its cut."""
    drift_BT, gap_BT = x["logp_BT"] - x["old_BT"], x["teacher_BT"] - x["logp_BT"]
    rho_BT, growth_BT = np.exp(np.minimum(drift_BT, 10)), np.exp(np.minimum(gap_BT, 20))
    k3_BT = growth_BT - 1 - gap_BT
    slope_BT = rho_BT * k3_BT * (drift_BT < 10) + rho_BT * (1 - growth_BT * (gap_BT < 20))
    divergence = _taught(x, Token(rho_BT * k3_BT, slope_BT))
    token = _policy(objective, x, x["adv_BT"]).plus(objective.coef, divergence)
    return _expected(objective, x, counts, token)


@oracles.register("sdar")
def sdar(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The gate is a constant: it scales the divergence and its derivatives."""
    gate_BT = _gate(objective, x, x["teacher_BT"] - x["logp_BT"])
    value_BT, d_logp_BT, d_entropy_BT, d_top_BTK = _distance(objective, x)
    gated = Token(gate_BT * value_BT, gate_BT * d_logp_BT, d_entropy_BT, gate_BT[..., None] * d_top_BTK)
    token = _policy(objective, x, x["adv_BT"]).plus(objective.coef, gated)
    return _expected(objective, x, counts, token)


def _gate(objective: Any, x: Tensors, gap_BT: np.ndarray) -> np.ndarray:
    """The weights of the gate named in the settings."""

    def sigmoid(score_BT: np.ndarray) -> np.ndarray:
        return (1 + np.tanh(objective.beta * score_BT / 2)) / 2

    doubt_BT = -np.expm1(-x["entropy_BT"])
    gates: dict[str, Callable[[], np.ndarray]] = {
        "gap": lambda: sigmoid(gap_BT),
        "constant": lambda: np.ones_like(gap_BT),
        "hard": lambda: np.where(gap_BT > 0, 1.0, 0.0),
        "signed": lambda: 2 * sigmoid(gap_BT) - 1,
        "student-entropy": lambda: sigmoid(x["entropy_BT"]),
        "teacher-entropy": lambda: sigmoid(-x["teacher_entropy_BT"]),
        "soft-or": lambda: sigmoid(doubt_BT + gap_BT - doubt_BT * gap_BT),
        "top-q": lambda: _largest(objective.top_share, x, gap_BT),
        "persistence": lambda: sigmoid(_persistent(objective.memory, x, gap_BT)),
    }
    return gates[objective.gate]()


def _taught_columns(x: Tensors, row: int) -> list[int]:
    has_BT = x["mask_BT"] & x.get("teacher_mask_BT", True)
    return [int(t) for t in np.flatnonzero(has_BT[row])]


def _largest(share: float, x: Tensors, gap_BT: np.ndarray) -> np.ndarray:
    """Row by row: 1 at the taught tokens whose gap fewer than the share's number of tokens exceed."""
    gate_BT = np.zeros_like(gap_BT)
    for row, gap_T in enumerate(gap_BT):
        taught = sorted(_taught_columns(x, row), key=lambda t: -gap_T[t])
        gate_BT[row, taught[: int(np.ceil(round(share * len(taught), 9)))]] = 1
    return gate_BT


def _persistent(memory: float, x: Tensors, gap_BT: np.ndarray) -> np.ndarray:
    """Token by token: the weighted mean over the taught tokens of the same turn up to this one."""
    mean_BT = np.zeros_like(gap_BT)
    for row, turn_T in enumerate(x["turn_BT"]):
        taught = _taught_columns(x, row)
        for t in taught:
            past = [s for s in taught if s <= t and turn_T[s] == turn_T[t]]
            mean_BT[row, t] = np.average(gap_BT[row, past], weights=[memory ** (t - s) for s in past])
    return mean_BT


@oracles.register("pcsd")
def pcsd(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The gate is a constant, token by token from the tokens before it; d(gap) = -1."""
    gap_BT = x["teacher_BT"] - x["logp_BT"]
    gate_BT = np.zeros_like(gap_BT)
    for row, turn_T in enumerate(x["turn_BT"]):
        taught = _taught_columns(x, row)
        for t in taught:
            past = [s for s in taught if t - objective.window < s <= t and turn_T[s] == turn_T[t]]
            weights = [objective.memory ** (t - s) for s in past]
            mean, place = (np.average(of, weights=weights) for of in (gap_BT[row, past], past))
            variance = np.average((gap_BT[row, past] - mean) ** 2, weights=weights)
            slope = 0.0
            if sum(weight > 0 for weight in weights) > 1:
                lever = np.array(past) - place
                slope = np.average(lever * gap_BT[row, past], weights=weights)
                slope /= np.average(lever**2, weights=weights)
            share = variance / (variance + objective.variance)
            score = (1 - share) * gap_BT[row, t] + share * mean
            damped = max(0.0, 1 - objective.damping * max(0.0, -slope / objective.scale))
            gate_BT[row, t] = damped * (1 + np.tanh(objective.beta * score / 2)) / 2
    token = _policy(objective, x, x["adv_BT"]).plus(
        objective.coef, _taught(x, Token(gate_BT * gap_BT, -gate_BT))
    )
    return _expected(objective, x, counts, token)


@oracles.register("icsd")
def icsd(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The weights are constants, turn by turn; d(gap) = -1."""
    gap_BT, adv_BT = x["teacher_BT"] - x["logp_BT"], x["adv_BT"]
    ratio_BT = np.exp(np.minimum(x["logp_BT"] - x["old_BT"], 20))
    gate_BT = (1 + np.tanh(objective.beta * gap_BT / 2)) / 2
    weight_BT = gate_BT.copy()
    for row, turn_T in enumerate(x["turn_BT"]):
        taught = _taught_columns(x, row)
        for turn in {turn_T[t] for t in taught}:
            own = [t for t in taught if turn_T[t] == turn]
            influence = {t: adv_BT[row, t] * ratio_BT[row, t] * gap_BT[row, t] for t in own}
            middle = float(np.median(list(influence.values())))
            below = [middle - u for u in influence.values() if u < middle]
            above = [u - middle for u in influence.values() if u > middle]
            rank = {}
            for t, u in influence.items():
                if u < middle:
                    rank[t] = np.exp((u - middle) / np.mean(below)) / 2
                else:
                    rank[t] = 1 - (np.exp((middle - u) / np.mean(above)) if u > middle else 1.0) / 2
            free = [t for t in own if adv_BT[row, t] >= 0 or gap_BT[row, t] >= 0]
            mass = sum(gate_BT[row, t] * rank[t] for t in free)
            kept = sum(gate_BT[row, t] for t in free)
            for t in free:
                weight_BT[row, t] = gate_BT[row, t] * rank[t] * kept / max(mass, 1e-12)
    token = _policy(objective, x, adv_BT).plus(
        objective.coef, _taught(x, Token(weight_BT * gap_BT, -weight_BT))
    )
    return _expected(objective, x, counts, token)


@oracles.register("seed")
def seed(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The gate is a constant; d(gap) = -1."""
    gap_BT = x["teacher_BT"] - x["logp_BT"]
    gate_BT = (1 + np.tanh(objective.beta * gap_BT / 2)) / 2
    term = _taught(x, Token(gate_BT * gap_BT, -gate_BT))
    return _expected(objective, x, counts, _policy(objective, x, x["adv_BT"]).plus(objective.coef, term))


@oracles.register("step-opsd")
def step_opsd(objective: Any, x: Tensors, counts: Denominators, step: int) -> Expected:
    """The policy term; turn by turn, the weights of the advantages are divided by their mean."""
    tilt_BT = np.tanh(np.sign(x["adv_BT"]) * (x["teacher_BT"] - x["old_BT"]) / 2)
    adv_BT = x["adv_BT"].copy()
    for row, turn_T in enumerate(x["turn_BT"]):
        taught = _taught_columns(x, row)
        for turn in {turn_T[t] for t in taught}:
            own = [t for t in taught if turn_T[t] == turn]
            value = 1 + objective.lam * np.clip(tilt_BT[row, own], -objective.alpha, objective.alpha)
            adv_BT[row, own] *= len(own) * value / value.sum()
    return _expected(objective, x, counts, _policy(objective, x, adv_BT))
