"""The objective battery over the registry, and proof that it can fail."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sdar.objectives import Credit, LossInputs, LossOutput, PolicyGradient, StepInputs, Stream, objectives
from sdar.objectives.agent_opsd import AgentOPSD
from sdar.objectives.batches import oracle_batches, random_inputs, split
from sdar.objectives.check import Status, check_objective, examine, measure
from sdar.objectives.grpo import GRPO
from sdar.objectives.oracles import credit_oracles, oracles
from sdar.objectives.rlsd import RLSD
from sdar.objectives.sdar import SDAR
from sdar.ops.divergences import divergences
from sdar.ops.gates import gates
from sdar.ops.reduce import WeightedSum, masked, weighted

PAPER_INDEX = Path(__file__).parents[2] / "docs" / "paper_index.md"

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in objectives),
    *((name, {"reduction": "sequence"}) for name in objectives),
    *(("sdar", {"gate": gate, "coef": 0.7}) for gate in gates),
    *(("sdar", {"divergence": divergence, "coef": 0.7}) for divergence in divergences),
    *(("opsd", {"divergence": divergence}) for divergence in divergences),
    ("sdar", {"divergence": "forward-kl", "gate": "top-q", "reduction": "sequence"}),
    ("grpo-opsd", {"divergence": "jensen-shannon", "coef": 0.7}),
    ("sdar", {"gate": "student-entropy", "entropy_coef": 0.0}),
    ("sdar", {"pg_coef": 0.0}),
    ("sdar", {"beta": 0.0, "pg_coef": 2.0}),
    ("grpo", {"kl_coef": 0.0, "entropy_coef": 0.0}),
    ("grpo", {"clip_low": 0.1, "clip_high": 0.4, "dual_clip": 1.5, "kl_coef": 1.0, "entropy_coef": 0.3}),
    ("grpo", {"ratio": "sequence", "clip_high": 0.3, "reduction": "sequence"}),
    ("grpo", {"tis_cap": 1.2}),
    ("grpo", {"tis_cap": 2.0, "ratio": "sequence", "pg_coef": 0.5}),
    ("grpo", {"reduction": "constant-length", "max_length": 9}),
    ("sdar", {"reduction": "constant-length", "max_length": 50, "tis_cap": 2.0}),
    ("grpo-opsd", {"coef": 0.9}),
    ("rlsd", {"lam": 1.0, "eps": 0.5}),
    ("rlsd", {"pg_coef": 0.5, "lam": "linear:0.8:0@0:60"}),
    ("skill-sd", {"coef": 0.3, "pg_coef": 0.0}),
    ("pcsd", {"coef": 0.7, "beta": 2.0, "memory": 0.5, "damping": 2.0, "window": 3}),
    ("icsd", {"coef": 0.7, "beta": 1.0}),
    ("grsd", {"lam": 3.0, "bound": 1.0, "threshold": 0.5}),
    ("adrs", {"eta": 0.5, "trust": "anchor", "entropy_coef": 0.0}),
    ("adrs", {"eta": "0.5@0:38", "trust": "reference", "cap": 0.3}),
    ("step-opsd", {"lam": 1.0, "alpha": 0.6}),
    ("ocsd", {"top_share": 0.6, "strength": 1.0}),
    ("agent-opsd", {"lam": 1.0, "alpha": 0.6, "decay": 0.5, "margin": 0.3}),
    ("agent-opsd", {"decay": 0.0}),
    ("bcsd", {"lam": 1.0, "alpha": 0.4, "pruned": "loss", "form": "clip"}),
]


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_battery(name: str, settings: dict[str, Any]) -> None:
    assert [finding for finding in check_objective(name, **settings) if finding.status != Status.PASS] == []


def test_the_oracle_batches_reach_every_clip_and_cut() -> None:
    """A check of the check: each branch of the loss is taken by some token, clipped and unclipped."""
    cases = list(oracle_batches())
    logp, old, ref, teacher, adv = (
        torch.cat([getattr(x, name)[x.taught_BT] for x in cases])
        for name in ("logp_BT", "old_BT", "ref_BT", "teacher_BT", "adv_BT")
    )
    ratio = (logp - old).exp()
    kl = (ref - logp).exp() - 1 - (ref - logp)
    regions = {
        "clip high": (adv > 0) & (ratio > 1.2),
        "clip low": (adv < 0) & (ratio < 0.8),
        "dual clip": (adv < 0) & (ratio > 3),
        "free": (adv != 0) & (ratio - 1).abs().lt(0.2),
        "no advantage": adv == 0,
        "reference clamp": kl > 10,
        "ratio cut of skill-sd": logp - old > 10,
        "k3 cut": teacher - logp > 20,
        "weight cut of rlsd": (teacher - old).abs() > 0.2,
        "weight of rlsd": (teacher - old).abs() < 0.2,
    }
    assert [name for name, hit_N in regions.items() if hit_N.sum() < 2] == []


def test_two_methods_show_the_student_skills() -> None:
    assert {name for name in objectives if objectives[name].student_skills} == {"bcsd", "skill-grpo"}


@pytest.mark.parametrize("name", list(objectives))
def test_paper_index_has_an_entry(name: str) -> None:
    assert f"\n## `{name}`\n" in PAPER_INDEX.read_text(encoding="utf-8")


# The battery must be able to fail.


def gap_and_policy(objective: SDAR, x: LossInputs) -> tuple[Tensor, Tensor]:
    policy_BT, _ = objective.policy_term(x, x.adv_BT)
    return x.stream(Stream.TEACHER) - x.logp_BT, policy_BT


@dataclass(frozen=True, kw_only=True)
class AttachedGate(SDAR):
    """The gate keeps its gradient: same value, another gradient. Source: a bug. Differences: a detach."""

    def loss(self, x: LossInputs) -> LossOutput:
        gap_BT, policy_BT = gap_and_policy(self, x)
        sdar_BT = masked(torch.sigmoid(self.beta * gap_BT) * gap_BT, x.taught_BT)
        return LossOutput(self.reduce(policy_BT + self.coef * sdar_BT, x), {})


@dataclass(frozen=True, kw_only=True)
class OwnMean(GRPO):
    """Divides by the tokens of the micro-batch."""

    def loss(self, x: LossInputs) -> LossOutput:
        token_BT, metrics = self.policy_term(x, x.adv_BT)
        return LossOutput(masked(token_BT, x.mask_BT).sum() / x.mask_BT.sum().clamp(min=1), metrics)


@dataclass(frozen=True, kw_only=True)
class NotFinite(GRPO):
    """Divides by zero when everything is masked."""

    def loss(self, x: LossInputs) -> LossOutput:
        token_BT, metrics = self.policy_term(x, x.adv_BT)
        return LossOutput(masked(token_BT, x.mask_BT).sum() / x.mask_BT.sum(), metrics)


@dataclass(frozen=True, kw_only=True)
class Unmasked(GRPO):
    """Forgets the mask."""

    def loss(self, x: LossInputs) -> LossOutput:
        token_BT, metrics = self.policy_term(x, x.adv_BT)
        return LossOutput(token_BT.sum() / x.denominators.tokens, metrics)


@dataclass(frozen=True, kw_only=True)
class IgnoresDroppedTeachers(SDAR):
    """Distils from teacher values that do not exist."""

    def loss(self, x: LossInputs) -> LossOutput:
        return super().loss(replace(x, teacher_mask_BT=None))


@dataclass(frozen=True, kw_only=True)
class RowOrder(GRPO):
    """Weighs rows by their place."""

    def loss(self, x: LossInputs) -> LossOutput:
        token_BT, metrics = self.policy_term(x, x.adv_BT)
        return LossOutput(self.reduce(token_BT * torch.arange(len(token_BT))[:, None], x), metrics)


@dataclass(frozen=True, kw_only=True)
class HiddenStream(GRPO):
    """Reads the reference without saying so, when its own KL is off."""

    kl_coef: float = 0.0

    def loss(self, x: LossInputs) -> LossOutput:
        token_BT, metrics = self.policy_term(x, x.adv_BT)
        return LossOutput(self.reduce(token_BT * x.stream(Stream.REF).clamp(-1, 1), x), metrics)


@dataclass(frozen=True, kw_only=True)
class IdleStream(GRPO):
    """Asks for a teacher pass that it never reads."""

    @property
    def needs(self) -> frozenset[Stream]:
        return super().needs | {Stream.TEACHER}


@dataclass(frozen=True, kw_only=True)
class LiveMetric(GRPO):
    """Logs a number with its graph attached."""

    def loss(self, x: LossInputs) -> LossOutput:
        loss = super().loss(x).loss
        return LossOutput(loss, {"policy/logp": WeightedSum(x.logp_BT.sum(), x.mask_BT.sum())})


@dataclass(frozen=True, kw_only=True)
class MeanMetric(GRPO):
    """Logs a mean in place of a sum."""

    def loss(self, x: LossInputs) -> LossOutput:
        loss = super().loss(x).loss
        return LossOutput(loss, {"policy/logp": WeightedSum(x.logp_BT.detach().mean(), x.mask_BT.sum())})


@dataclass(frozen=True, kw_only=True)
class CodeAsSetting(GRPO):
    """Has a setting that no recipe can hold."""

    squash: Any = field(default=torch.tanh)


@dataclass(frozen=True, kw_only=True)
class UnmaskedMetric(GRPO):
    """Counts padding into a metric."""

    def loss(self, x: LossInputs) -> LossOutput:
        loss = super().loss(x).loss
        return LossOutput(loss, {"policy/logp": weighted(x.logp_BT, torch.ones_like(x.mask_BT))})


@dataclass(frozen=True, kw_only=True)
class LiveStream(GRPO):
    """Shows a stream with its graph attached, and one number in place of one for each token."""

    def loss(self, x: LossInputs) -> LossOutput:
        loss, metrics, _ = super().loss(x)
        return LossOutput(loss, metrics, {"live": x.logp_BT, "mean": x.adv_BT.mean()})


@dataclass(frozen=True, kw_only=True)
class CreditByPlace(GRPO):
    """Gives the later tokens of a step more, whatever turn they belong to."""

    def credit(self, x: StepInputs) -> Credit:
        return Credit(x.adv_M * torch.arange(len(x.adv_M)))


@dataclass(frozen=True, kw_only=True)
class CreditWithoutTeacher(RLSD):
    """Reads teachers that a token does not have."""

    def credit(self, x: StepInputs) -> Credit:
        return Credit(x.adv_M * x.stream(Stream.TEACHER).exp())


@dataclass(frozen=True, kw_only=True)
class HiddenCredit(GRPO):
    """Reads a stream of the whole step that nobody scores."""

    def credit(self, x: StepInputs) -> Credit:
        return Credit(x.adv_M - x.stream(Stream.ROLLOUT))


@dataclass(frozen=True, kw_only=True)
class InfiniteCredit(GRPO):
    """Divides by a success rate that may be 0."""

    def credit(self, x: StepInputs) -> Credit:
        return Credit(x.adv_M / x.success_E[x.episode_M])


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (CreditByPlace, {"credit"}),
        (CreditWithoutTeacher, {"credit"}),
        (HiddenCredit, {"needs"}),
        (InfiniteCredit, {"credit"}),
        (OwnMean, {"split"}),
        (NotFinite, {"finite", "split"}),
        (Unmasked, {"finite", "masked"}),
        (IgnoresDroppedTeachers, {"masked"}),
        (RowOrder, {"split", "permutation"}),
        (HiddenStream, {"needs"}),
        (IdleStream, {"needs"}),
        (LiveMetric, {"metrics"}),
        (MeanMetric, {"metrics"}),
        (UnmaskedMetric, {"metrics"}),
        (LiveStream, {"streams"}),
        (CodeAsSetting, {"settings"}),
    ],
)
def test_battery_catches(broken: type[PolicyGradient], caught_by: set[str]) -> None:
    assert caught_by == set(examine(broken()).failures)


def test_only_the_oracle_sees_an_attached_gate() -> None:
    right, wrong, x = SDAR(coef=1.0), AttachedGate(coef=1.0), random_inputs(1)
    assert measure(right, x).loss == measure(wrong, x).loss
    report = examine(wrong, oracles["sdar"])
    assert report.failures == ["oracle"]
    assert "grad_logp_BT" in report[-2].detail


def test_the_micro_batch_mean_depends_on_the_cut() -> None:
    assert check_objective("sdar", reduction="micro-batch-mean").failures == ["split"]


def test_micro_batch_mean_is_the_published_one() -> None:
    """Mean over micro-batches of their token means, whatever their lengths."""
    x = random_inputs(2)
    x = replace(x, denominators=x.denominators._replace(micro_batches=3))
    losses = [measure(GRPO(reduction="micro-batch-mean"), part).loss for part in split(x, [1, 3, 2])]
    own = [measure(OwnMean(), part).loss for part in split(x, [1, 3, 2])]
    torch.testing.assert_close(sum(losses), sum(own) / 3)


def test_the_oracle_sees_wrong_credit() -> None:
    def forgetful(objective: Any, x: StepInputs) -> Any:
        return credit_oracles["agent-opsd"](replace(objective, decay=0.9), x)

    report = examine(AgentOPSD(), oracles["agent-opsd"], forgetful)
    assert report.failures == ["credit oracle"]


def test_wrong_settings_are_seen_by_the_oracle() -> None:
    def off_by_one(objective: Any, *rest: Any) -> Any:
        return oracles["rlsd"](replace(objective, lam="linear:0.5:0@0:101"), *rest)

    assert examine(RLSD(), off_by_one).failures == ["oracle"]


def test_a_plugin_without_an_oracle_gets_a_warning_and_no_pass() -> None:
    class Undocumented(GRPO):
        __doc__ = None

        def credit(self, x: StepInputs) -> Credit:
            return Credit(2 * x.adv_M)

    report = examine(Undocumented())
    assert report.passed
    warned = {finding.check for finding in report if finding.status is Status.WARN}
    assert warned == {"oracle", "credit oracle", "documented"}


@dataclass(frozen=True, kw_only=True)
class Raises(GRPO):
    """A bug in the user's code. Source: none. Differences: all."""

    def loss(self, x: LossInputs) -> LossOutput:
        raise ZeroDivisionError("of mine")


def test_an_objective_that_raises_fails_with_the_cause() -> None:
    report = examine(Raises(), oracles["grpo"])
    finite = report[0]
    assert (finite.check, finite.status) == ("finite", Status.FAIL)
    assert finite.detail.startswith("ZeroDivisionError: of mine (test_objective_battery.py:")
    assert "oracle" in report.failures
