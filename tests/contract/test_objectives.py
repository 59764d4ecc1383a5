"""Limits of objectives, their numbers by hand, and what they refuse."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from sdar.errors import ConfigError, DataError
from sdar.objectives import LossInputs, LossOutput, Objective, PolicyGradient, Stream, objectives
from sdar.objectives.batches import random_inputs, random_step
from sdar.objectives.check import Status, examine, measure
from sdar.objectives.grpo import GRPO
from sdar.objectives.rlsd import RLSD
from sdar.objectives.sdar import SDAR
from sdar.ops.divergences import divergences
from sdar.ops.reduce import Denominators, masked, weighted

# Limits: objectives that must coincide.

LIMITS = [
    ("sdar", {"coef": 0.0}, "grpo", {}),
    ("rlsd", {"lam": 0.0}, "grpo", {}),
    ("rlsd", {"eps": 0.0}, "grpo", {}),
    ("grpo-opsd", {"coef": 0.0}, "grpo", {}),
    ("skill-sd", {"coef": 0.0}, "grpo", {}),
    ("skill-grpo", {}, "grpo", {}),
    ("grpo-opsd", {"coef": 1.0, "pg_coef": 0.0, "kl_coef": 0.0, "entropy_coef": 0.0}, "opsd", {}),
    (
        "grpo",
        {
            "reduction": "constant-length",
            "max_length": 3,
            "pg_coef": 6.0,
            "kl_coef": 0.06,
            "entropy_coef": 0.006,
        },
        "grpo",
        {
            "reduction": "constant-length",
            "max_length": 1,
            "pg_coef": 2.0,
            "kl_coef": 0.02,
            "entropy_coef": 0.002,
        },
    ),
    ("sdar", {"beta": 1e9}, "sdar", {"gate": "hard"}),
    ("sdar", {"gate": "constant", "divergence": "sampled-reverse-kl"}, "grpo-opsd", {}),
    ("sdar", {"gate": "constant", "divergence": "forward-kl"}, "grpo-opsd", {"divergence": "forward-kl"}),
    ("sdar", {"beta": 0.0, "coef": 0.02}, "sdar", {"gate": "constant", "coef": 0.01}),
]


def assert_same(a: Objective, b: Objective, x: LossInputs) -> None:
    torch.testing.assert_close(measure(a, x), measure(b, x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "settings", "other", "others"), LIMITS)
def test_limits(name: str, settings: dict[str, Any], other: str, others: dict[str, Any]) -> None:
    for seed, spread in enumerate((0.1, 0.5, 2.0)):
        x = random_inputs(seed, spread=spread, dropped=seed == 1)
        assert_same(objectives[name](**settings), objectives[other](**others), x)


def test_rlsd_is_grpo_once_it_has_decayed() -> None:
    assert_same(RLSD(), GRPO(), random_inputs(0, step=100))
    early = random_inputs(0, step=99)
    assert not torch.equal(measure(RLSD(), early).grad_logp_BT, measure(GRPO(), early).grad_logp_BT)


def test_a_sequence_is_clipped_as_a_whole() -> None:
    """Two tokens that moved by log 2 up and down cancel out; their own ratios would both be clipped."""
    one = torch.ones(1, 2, dtype=torch.float64)
    x = LossInputs(
        logp_BT=torch.tensor([[-1.0, -1.0]], dtype=torch.float64),
        old_BT=torch.tensor([[-1 - math.log(2), -1 + math.log(2)]], dtype=torch.float64),
        mask_BT=one.bool(),
        turn_BT=one.long(),
        adv_BT=torch.tensor([[1.0, -1.0]], dtype=torch.float64),
        denominators=Denominators(2, 1),
    )
    plain = {"kl_coef": 0.0, "entropy_coef": 0.0}
    assert measure(GRPO(**plain), x).grad_logp_BT.tolist() == [[0.0, 0.0]]
    slope_BT = measure(GRPO(**plain, ratio="sequence"), x).grad_logp_BT
    torch.testing.assert_close(slope_BT, torch.tensor([[-0.5, 0.5]], dtype=torch.float64))


def test_untruncated_importance_sampling_is_the_ratio_to_the_engine() -> None:
    """Without clips, pi_old cancels out: the gradient is -A pi / pi_rollout."""
    x = random_inputs(0, spread=0.3)
    assert x.rollout_BT is not None
    free = {"clip_low": 1.0, "clip_high": 1e9, "dual_clip": 1e9, "kl_coef": 0.0, "entropy_coef": 0.0}
    corrected = measure(GRPO(**free, tis_cap=1e9), x).grad_logp_BT
    expected = -x.adv_BT * (x.logp_BT - x.rollout_BT).exp() / x.denominators.tokens
    torch.testing.assert_close(corrected, expected.masked_fill(~x.mask_BT, 0.0))


SCHEDULED = {
    "grpo": ("pg_coef", "kl_coef", "entropy_coef"),
    "sdar": ("coef", "beta", "pg_coef"),
    "grpo-opsd": ("coef",),
    "skill-sd": ("coef",),
    "rlsd": ("lam",),
}


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, fields in SCHEDULED.items() for f in fields])
def test_a_scheduled_coefficient_is_its_value_at_that_step(name: str, field: str) -> None:
    """Three quarters of the way from 0.8 to 0.4, and at the end of the run."""
    scheduled = objectives[name](**{field: "linear:0.8:0.4"})
    for step, value in ((0, 0.8), (15, 0.5), (20, 0.4)):
        x = replace(random_inputs(0), step=step, steps=20)
        assert_same(scheduled, objectives[name](**{field: value}), x)


def test_the_published_grpo_opsd_does_not_depend_on_the_teacher() -> None:
    """`sdar` with beta 0, as published, has one gradient for all teachers; `grpo-opsd` does not."""
    x = random_inputs(0)
    other = replace(x, teacher_BT=random_inputs(1).teacher_BT)
    published, ours = SDAR(beta=0.0), objectives["grpo-opsd"]()
    assert torch.equal(measure(published, x).grad_logp_BT, measure(published, other).grad_logp_BT)
    assert not torch.allclose(measure(ours, x).grad_logp_BT, measure(ours, other).grad_logp_BT)


def test_reductions_agree_when_there_is_one_token_per_sequence() -> None:
    x = random_inputs(0, length=1)
    for reduction in ("sequence", "constant-length", "micro-batch-mean"):
        assert_same(GRPO(), GRPO(reduction=reduction, max_length=1), x)
    assert_same(GRPO(), GRPO(ratio="sequence"), x)


# Numbers by hand.


def one_token(**changes: Any) -> LossInputs:
    """logp = old = ref = -1, teacher -0.8, advantage 2, entropy 0.5."""
    token_BT = torch.ones(1, 1, dtype=torch.float64)
    tensors = {"logp": -1.0, "old": -1.0, "ref": -1.0, "teacher": -0.8, "adv": 2.0, "entropy": 0.5}
    fields: dict[str, Any] = {f"{name}_BT": value * token_BT for name, value in tensors.items()}
    fields |= {"mask_BT": token_BT.bool(), "turn_BT": token_BT.long(), "denominators": Denominators(1, 1, 1)}
    return LossInputs(**(fields | changes))


GATE = 1 / (1 + math.exp(-5 * 0.2))
WEIGHT = 0.5 + 0.5 * 1.2  # exp(0.2) = 1.2214 is clipped to 1.2


@pytest.mark.parametrize(
    ("name", "loss", "slope"),
    [
        ("grpo", -2 - 0.0005, -2.0),
        ("skill-grpo", -2 - 0.0005, -2.0),
        ("sdar", -2 - 0.0005 + 0.01 * GATE * 0.2, -2 - 0.01 * GATE),
        ("opsd", 0.2, -0.2),
        ("grpo-opsd", -2 - 0.0005 + 0.01 * 0.2, -2 - 0.01 * 0.2),
        ("rlsd", -2 * WEIGHT - 0.0005, -2 * WEIGHT),
        (
            "skill-sd",
            -2 - 0.0005 + 0.001 * (math.exp(0.2) - 1.2),
            -2 + 0.001 * (math.exp(0.2) - 1.2 + 1 - math.exp(0.2)),
        ),
    ],
)
def test_one_token_by_hand(name: str, loss: float, slope: float) -> None:
    result = measure(objectives[name](), one_token())
    assert result.loss.item() == pytest.approx(loss, rel=1e-12)
    assert result.grad_logp_BT.item() == pytest.approx(slope, rel=1e-12)
    assert result.grad_entropy_BT.item() == pytest.approx(0.0 if name == "opsd" else -0.001)


def test_metrics_of_sdar_by_hand() -> None:
    metrics = SDAR().loss(one_token(ref_BT=torch.full((1, 1), -2.0, dtype=torch.float64))).metrics
    values = {name: (metric.sum / metric.weight).item() for name, metric in metrics.items()}
    assert values == pytest.approx(
        {
            "policy/loss": -2.0,
            "policy/ratio_mean": 1.0,
            "policy/clip_fraction": 0.0,
            "policy/kl_ref": math.exp(-1),
            "policy/entropy": 0.5,
            "teacher/gap_mean": 0.2,
            "sdar/gap_mean": 0.2,
            "sdar/gate_mean": GATE,
            "sdar/gate_active": 1.0,
            "sdar/loss": GATE * 0.2,
        }
    )


def test_a_token_is_taught_when_it_is_unmasked_and_has_a_teacher() -> None:
    x = random_inputs(0, dropped=True)
    assert x.teacher_mask_BT is not None
    assert torch.equal(x.taught_BT, x.mask_BT & x.teacher_mask_BT)
    assert 0 < x.taught_BT.sum() < x.mask_BT.sum()
    assert SDAR().loss(x).metrics["teacher/gap_mean"].weight == x.taught_BT.sum()


# Bad input.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"old_BT": torch.zeros(1, 2)}, r"old_BT has shape \(1, 2\), but logp_BT has \(1, 1\)"),
        ({"mask_BT": torch.ones(1, 1)}, "mask_BT must be boolean, not torch.float32"),
        ({"turn_BT": torch.ones(1, 1)}, "turn_BT must be integer"),
        ({"adv_BT": torch.ones(1, 1, dtype=torch.long)}, "adv_BT must be floating"),
        ({"teacher_BT": torch.zeros(1, 1, requires_grad=True)}, "teacher_BT requires grad"),
        ({"teacher_top_BTK": torch.zeros(1, 1)}, "teacher_top_BTK has shape"),
        ({"teacher_top_BTK": torch.zeros(1, 1, 4, requires_grad=True)}, "teacher_top_BTK requires grad"),
        ({"logp_BT": torch.zeros(3)}, "logp_BT must be"),
    ],
)
def test_loss_inputs_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        one_token(**changes)


@pytest.mark.parametrize("name", list(objectives))
def test_a_missing_stream_is_named(name: str) -> None:
    objective = objectives[name]()
    more = {
        "more_teachers_BTV": torch.zeros(1, 1, 1),
        "more_teacher_masks_BTV": torch.ones(1, 1, 1, dtype=torch.bool),
        "student_top_BTK": torch.zeros(1, 1, 3).log_softmax(-1),
        "teacher_top_BTK": torch.zeros(1, 1, 3).log_softmax(-1),
        "span_BT": torch.zeros(1, 1, dtype=torch.long),
    }
    step = random_step(0)

    def learn_without(stream: Stream) -> None:
        others = {name: value for name, value in step.streams.items() if name != stream}
        objective.credit(replace(step, streams=others))
        objective.loss(one_token(**more | {stream.tensor: None}))

    for stream in objective.needs:
        message = f"reads {stream.tensor}, but the batch does not have it|reads '{stream}' of a whole step"
        with pytest.raises(ConfigError, match=message):
            learn_without(stream)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sdar", {"gate": "gpa"}, "unknown gate 'gpa': did you mean 'gap'"),
        ("sdar", {"divergence": "fwd-kl"}, "unknown divergence 'fwd-kl': did you mean"),
        ("opsd", {"top_k": -1}, "objective.top_k must be at least 0"),
        ("sdar", {"top_share": 1.5}, "objective.top_share must be between 0 and 1"),
        ("sdar", {"beta": -1.0}, "objective.beta must be at least 0, not -1.0"),
        ("sdar", {"coef": "linear:0.01:-1"}, "objective.coef must be at least 0, not -1.0"),
        (
            "sdar",
            {"coef": "liner:0.01:0"},
            "unknown schedule 'liner' in 'liner:0.01:0': did you mean 'linear'",
        ),
        ("sdar", {"coef": "0.01 -> 0"}, "'0.01 -> 0' is neither a number nor a schedule"),
        ("sdar", {"coef": math.nan}, "must be a finite number"),
        ("grpo", {"reduction": "tokens"}, "unknown reduction 'tokens': did you mean 'token'"),
        ("grpo", {"reduction": "constant-length"}, "needs objective.max_length"),
        ("grpo", {"ratio": "sequences"}, "unknown ratio 'sequences': did you mean 'sequence'"),
        ("grpo", {"tis_cap": -1.0}, "objective.tis_cap must be at least 0"),
        ("grpo", {"clip_low": 1.5}, "objective.clip_low must be between 0 and 1"),
        ("grpo", {"dual_clip": 0.5}, "objective.dual_clip must be at least 1"),
        ("rlsd", {"lam": 2.0}, "objective.lam must be between 0 and 1"),
        ("skill-sd", {"coef": -0.1}, "objective.coef must be at least 0"),
        ("grpo-opsd", {"kl_coef": -0.1}, "objective.kl_coef must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objectives[name](**settings)


def test_a_zero_coefficient_drops_its_stream() -> None:
    assert GRPO().needs == {Stream.OLD, Stream.REF, Stream.ENTROPY}
    assert GRPO(kl_coef=0.0, entropy_coef=0.0).needs == {Stream.OLD}
    assert SDAR(pg_coef=0.0, kl_coef=0.0, entropy_coef=0.0).needs == {Stream.TEACHER}
    assert Stream.ROLLOUT in GRPO(tis_cap=2.0).needs
    assert Stream.ROLLOUT not in GRPO(tis_cap=2.0, pg_coef=0.0).needs
    assert Stream.ENTROPY in SDAR(entropy_coef=0.0, gate="student-entropy").needs


@pytest.mark.parametrize("name", ["sdar", "opsd", "grpo-opsd"])
def test_only_a_divergence_of_distributions_asks_for_them(name: str) -> None:
    for divergence in divergences:
        objective = objectives[name](divergence=divergence)
        asked = Stream.TEACHER_TOP in objective.needs
        assert asked == (divergence in ("reverse-kl", "forward-kl", "jensen-shannon"))


def test_a_plugin_is_one_small_class() -> None:
    @dataclass(frozen=True, kw_only=True)
    class SquareRootGate(PolicyGradient):
        """GRPO plus a gate that is the root of the gap. Source: none. Differences: all."""

        @property
        def needs(self) -> frozenset[Stream]:
            return super().needs | {Stream.TEACHER}

        def loss(self, x: LossInputs) -> LossOutput:
            policy_BT, metrics = self.policy_term(x, x.adv_BT)
            gap_BT = x.stream(Stream.TEACHER) - x.logp_BT
            gate_BT = gap_BT.detach().clamp(min=0).sqrt()
            metrics["root/gate"] = weighted(gate_BT, x.taught_BT)
            return LossOutput(self.reduce(policy_BT + masked(gate_BT * gap_BT, x.taught_BT), x), metrics)

    report = examine(SquareRootGate())
    assert report.passed
    assert [finding.check for finding in report if finding.status is Status.WARN] == ["oracle"]
