import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.tiny import tiny_model

from sdar.errors import ConfigError
from sdar.model.policy import Policy
from sdar.objectives.base import LossInputs, LossOutput, Objective, Stream
from sdar.objectives.opsd import OPSD
from sdar.objectives.sdar import SDAR
from sdar.rollout.samples import Sample
from sdar.settings.schedules import Shape
from sdar.trainer.batch import Batch, pack
from sdar.trainer.distributed import World, full, shard
from sdar.trainer.settings import OptimConfig, Order
from sdar.trainer.step import Learner, make_optimizer
from sdar.trainer.teachers import Weights

BODY = 12


def samples(number: int = 6) -> list[Sample]:
    generator = torch.Generator().manual_seed(0)
    out = []
    for i in range(number):
        body = torch.randint(0, 300, (BODY + i,), generator=generator).tolist()
        policy = tuple(j % 4 != 3 for j in range(len(body)))
        count = sum(policy)
        out.append(Sample((5, 6, i), tuple(body), policy, (-5.0,) * count, (0,) * count, i, (9, 8, 7, 6, i)))
    return out


def make(
    world: World,
    objective: Objective,
    *,
    model: torch.nn.Module | None = None,
    compute_dtype: torch.dtype = torch.float32,
    reference: bool = True,
    **optim: Any,
) -> tuple[Learner, Batch]:
    policy = Policy(model or tiny_model())
    frozen = Weights.frozen(policy) if reference else None
    shard(policy, world, compute_dtype)
    if frozen is not None and frozen.is_copy:
        shard(frozen.policy, world, compute_dtype)
    config = OptimConfig(**{"lr": 1e-2} | optim)
    batch = Batch.build(samples(), [(float(i % 3 - 1),) for i in range(6)], world.device)
    batch.streams[Stream.OLD] = batch.rollout_M
    learner = Learner(
        policy=policy,
        optimizer=make_optimizer(policy, config),
        objective=objective,
        config=config,
        world=world,
        reference=frozen,
    )
    for stream in objective.needs & {Stream.REF, Stream.TEACHER}:
        batch.put(stream, learner.score(batch, stream))
    return learner, batch


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: full(parameter).detach().clone() for name, parameter in learner.policy.named_parameters()}


@dataclass(frozen=True, kw_only=True)
class Break(Objective):
    """Raises the log-probs; the loss is not finite where a batch holds this sequence length."""

    length: int
    finite_gradient: bool = False

    @property
    def needs(self) -> frozenset[Stream]:
        return frozenset()

    def loss(self, x: LossInputs) -> LossOutput:
        loss = self.reduce(-x.logp_BT, x)
        if bool((x.mask_BT.sum(1) == self.length).any()):
            loss = loss + math.inf if self.finite_gradient else loss * math.nan
        return LossOutput(loss, {"broken/loss": (loss, torch.ones(()))})  # type: ignore[dict-item]


def test_scores_are_those_of_the_plain_model(world: World) -> None:
    learner, batch = make(world, SDAR(), micro_tokens=40)
    model = tiny_model()
    for stream, prompt in ((Stream.OLD, "prompt"), (Stream.TEACHER, "teacher_prompt")):
        scored = learner.score(batch, stream).logp
        for row, sample in enumerate(batch.samples):
            tokens = torch.tensor([*getattr(sample, prompt), *sample.body])
            logp = model(tokens[None]).logits[0, :-1].log_softmax(-1).gather(1, tokens[1:, None])[:, 0]
            expected = logp[-len(sample.body) :][torch.tensor(sample.policy)]
            torch.testing.assert_close(scored[batch.columns([row])], expected, atol=1e-4, rtol=1e-4)


def test_a_row_without_a_teacher_scores_zero(world: World) -> None:
    learner, batch = make(world, SDAR())
    batch = replace(batch, samples=[replace(batch.samples[0], teacher_prompt=()), *batch.samples[1:]])
    scored = learner.score(batch, Stream.TEACHER).logp
    assert not scored[batch.columns([0])].any()
    assert scored[batch.columns([1, 2, 3, 4, 5])].all()


def test_the_reference_stays_when_the_policy_moves(world: World) -> None:
    learner, batch = make(world, SDAR())
    before = learner.score(batch, Stream.REF).logp
    torch.testing.assert_close(before, learner.score(batch, Stream.OLD).logp)
    learner.learn(batch, 1, 10)
    assert torch.equal(learner.score(batch, Stream.REF).logp, before)
    assert not torch.allclose(learner.score(batch, Stream.OLD).logp, before, atol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"divergence": "reverse-kl", "top_k": 5, "gate": "top-q"}])
def test_micro_batches_change_neither_update_nor_metrics(world: World, settings: dict[str, Any]) -> None:
    objective = SDAR(coef=0.1, **settings)
    whole, cut = (make(world, objective, micro_tokens=tokens, mini_batch=3) for tokens in (10_000, 20))
    one, two = (learner.learn(batch, 1, 10) for learner, batch in (whole, cut))
    assert (one.metrics.pop("batch/micro_batches"), two.metrics.pop("batch/micro_batches")) == (2.0, 6.0)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(one.live_M, two.live_M, atol=1e-5, rtol=1e-5)
    for name, tensor in weights(whole[0]).items():
        torch.testing.assert_close(tensor, weights(cut[0])[name], atol=1e-4, rtol=1e-3)


def test_samples_stay_in_their_order_and_are_cut_by_number(world: World) -> None:
    seen: list[list[int]] = []

    @dataclass(frozen=True, kw_only=True)
    class Watch(Break):
        def loss(self, x: LossInputs) -> LossOutput:
            seen.append(x.mask_BT.sum(1).tolist())
            return super().loss(x)

    settings = {"order": Order.ENVIRONMENT, "mini_batch": 4, "micro_samples": 3}
    learner, batch = make(world, Watch(length=-1), reference=False, **settings)
    learned = learner.learn(batch, 2, 10)
    counts = [sum(sample.policy) for sample in batch.samples]
    assert seen == [counts[0:3], counts[3:4], counts[4:6]]
    assert (learned.first, learned.metrics["batch/updates"]) == ([0, 1, 2, 3], 2.0)


def test_only_the_mean_of_micro_batch_means_depends_on_the_cut(world: World) -> None:
    """The gradient of a batch as a whole and in twos, in both reductions."""
    norms: dict[str, list[float]] = {"token": [], "micro-batch-mean": []}
    for reduction, found in norms.items():
        for size in (6, 2):
            objective = SDAR(coef=0.1, reduction=reduction)
            learner, batch = make(world, objective, order=Order.ENVIRONMENT, micro_samples=size)
            found.append(learner.learn(batch, 1, 10).metrics["optim/grad_norm"])
    assert norms["token"][0] == pytest.approx(norms["token"][1], rel=1e-4)
    assert norms["micro-batch-mean"][0] != pytest.approx(norms["micro-batch-mean"][1], rel=1e-3)


def test_live_scores_of_the_first_mini_batch_are_from_before_the_update(world: World) -> None:
    learner, batch = make(world, SDAR(), mini_batch=3)
    before = learner.score(batch, Stream.OLD).logp
    learned = learner.learn(batch, 1, 10)
    first = batch.columns(learned.first)
    assert 0 < len(first) < len(before)
    torch.testing.assert_close(learned.live_M[first], before[first], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(learned.live_M, before, atol=1e-3)


@pytest.mark.parametrize("finite_gradient", [False, True])
def test_a_bad_update_is_skipped_and_counted(world: World, finite_gradient: bool) -> None:
    counts = [sum(sample.policy) for sample in samples()]
    objective = Break(length=counts[0], finite_gradient=finite_gradient)
    learner, batch = make(world, objective, reference=False, mini_batch=6)
    before = weights(learner)
    metrics = learner.learn(batch, 1, 10).metrics
    assert metrics["optim/skipped"] == 1.0
    assert not {"broken/loss", "objective/loss", "optim/grad_norm"} & metrics.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(learner).items())

    learner, batch = make(world, objective, reference=False, mini_batch=1)
    metrics = learner.learn(batch, 1, 10).metrics
    assert metrics["optim/skipped"] == sum(count == counts[0] for count in counts)
    assert math.isfinite(metrics["broken/loss"])
    assert all(tensor.isfinite().all() for tensor in weights(learner).values())
    assert not all(torch.equal(tensor, before[name]) for name, tensor in weights(learner).items())


def test_large_gradients_are_scaled_down(world: World) -> None:
    norms = []
    for limit in (0.0, 1e-3):
        learner, batch = make(world, Break(length=-1), reference=False, max_grad_norm=limit)
        seen: list[float] = []
        learner.optimizer.register_step_pre_hook(
            lambda optimizer, *_, seen=seen: seen.append(
                math.sqrt(
                    sum(float(full(p.grad).square().sum()) for p in optimizer.param_groups[0]["params"])
                )
            )
        )
        norms.append((learner.learn(batch, 1, 10).metrics["optim/grad_norm"], seen[0]))
    assert norms[0][1] == pytest.approx(norms[0][0], rel=1e-4)
    assert norms[1] == (pytest.approx(norms[0][0], rel=1e-4), pytest.approx(1e-3, rel=1e-2))


def test_only_trainable_parameters_are_optimized() -> None:
    policy = Policy(tiny_model())
    for parameter in policy.parameters():
        parameter.requires_grad_(False)
    head = next(policy.parameters()).requires_grad_(True)
    assert make_optimizer(policy, OptimConfig()).param_groups[0]["params"] == [head]


def test_learning_rate() -> None:
    constant = OptimConfig(lr=1.0, warmup_steps=4)
    assert [constant.lr_at(step, 8) for step in (1, 2, 4, 5, 8)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    published = OptimConfig(lr=1.0, warmup_steps=4, warmup_from_zero=True)
    assert [published.lr_at(step, 8) for step in (1, 2, 4, 5, 8)] == [0.0, 0.25, 0.75, 1.0, 1.0]
    linear = OptimConfig(lr=1.0, warmup_steps=4, schedule=Shape.LINEAR)
    assert [linear.lr_at(step, 8) for step in (4, 5, 6, 8)] == [1.0, 1.0, 0.75, 0.25]
    down = OptimConfig(lr=1.0, schedule=Shape.WARM_DOWN)
    assert [down.lr_at(step, 10) for step in (1, 9, 10)] == [1.0, 1.0, 0.5]
    cosine = OptimConfig(lr=1.0, schedule=Shape.COSINE)
    assert cosine.lr_at(1, 8) == 1.0
    assert cosine.lr_at(5, 8) == pytest.approx(0.5)


def test_impossible_settings() -> None:
    with pytest.raises(ConfigError, match="micro_tokens"):
        OptimConfig(micro_tokens=0)
    with pytest.raises(ConfigError, match="micro_samples"):
        OptimConfig(micro_samples=-1)
    with pytest.raises(ConfigError, match=r"set optim\.warmup_steps"):
        OptimConfig(warmup_from_zero=True)
    with pytest.raises(ConfigError, match=r"optim\.lr"):
        OptimConfig(lr=-1.0)


def test_a_needed_reference_must_be_there(world: World) -> None:
    with pytest.raises(ConfigError, match="reference"):
        make(world, SDAR(), reference=False)


def test_pack_is_what_is_scored(world: World) -> None:
    learner, batch = make(world, SDAR())
    with torch.no_grad():
        alone = learner.policy(pack([batch.samples[3]], world.device)).logp
    torch.testing.assert_close(
        learner.score(batch, Stream.OLD).logp[batch.columns([3])], alone, atol=1e-5, rtol=1e-5
    )


def test_adapters_train_and_the_reference_is_the_policy_without_them(world: World) -> None:
    plain, _ = make(world, SDAR())
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"])
    learner, batch = make(world, SDAR(), model=get_peft_model(tiny_model(), config))
    assert learner.reference is not None
    assert not learner.reference.is_copy
    expected = plain.score(batch, Stream.REF).logp
    before = weights(learner)
    learner.learn(batch, 1, 10)
    torch.testing.assert_close(learner.score(batch, Stream.REF).logp, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(learner.score(batch, Stream.OLD).logp, expected, atol=1e-3)
    moved = {name for name, tensor in weights(learner).items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)


def test_bfloat16_computes_in_halves_and_keeps_trained_weights_whole(world: World) -> None:
    learner, batch = make(world, SDAR(), compute_dtype=torch.bfloat16)
    exact, _ = make(world, SDAR())
    assert learner.reference is not None
    assert {parameter.dtype for parameter in learner.policy.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in learner.reference.policy.parameters()} == {torch.bfloat16}
    rough, fine = learner.score(batch, Stream.REF).logp, exact.score(batch, Stream.REF).logp
    assert rough.dtype == torch.float32
    assert 1e-5 < float((rough - fine).abs().max()) < 0.1
    torch.testing.assert_close(learner.score(batch, Stream.OLD).logp, rough, atol=1e-6, rtol=1e-6)
    assert {parameter.dtype for parameter in learner.policy.parameters()} == {torch.float32}, "no shards"
    norm, expected = (each.learn(batch, 1, 10).metrics["optim/grad_norm"] for each in (learner, exact))
    assert norm == pytest.approx(expected, rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in weights(learner).values())


def test_log_probs_are_those_of_the_tempered_distribution(world: World) -> None:
    learner, batch = make(world, SDAR())
    warm = replace(learner, temperature=2.0)
    sample = batch.samples[0]
    tokens = torch.tensor([*sample.prompt, *sample.body])
    logp = (tiny_model()(tokens[None]).logits[0, :-1] / 2.0).log_softmax(-1).gather(1, tokens[1:, None])[:, 0]
    expected = logp[-len(sample.body) :][torch.tensor(sample.policy)].detach()
    columns = batch.columns([0])
    torch.testing.assert_close(warm.score(batch, Stream.OLD).logp[columns], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(warm.learn(batch, 1, 10).live_M[columns], expected, atol=1e-4, rtol=1e-4)


def test_the_objective_counts_steps_from_zero_and_every_step_is_shuffled(world: World) -> None:
    seen: list[tuple[int, int]] = []

    @dataclass(frozen=True, kw_only=True)
    class Watch(Break):
        def loss(self, x: LossInputs) -> LossOutput:
            seen.append((x.step, x.steps))
            return super().loss(x)

    learner, batch = make(world, Watch(length=-1), reference=False, mini_batch=3)
    first = [learner.learn(batch, step, 10).first for step in (1, 2, 3)]
    assert seen == [(0, 10), (0, 10), (1, 10), (1, 10), (2, 10), (2, 10)]
    assert len({tuple(rows) for rows in first}) > 1


def test_an_update_is_as_large_as_the_learning_rate_of_its_step(world: World) -> None:
    for step, expected in ((1, 1e-3), (5, 5e-3), (20, 1e-2)):
        learner, batch = make(world, Break(length=-1), reference=False, warmup_steps=10)
        before = weights(learner)
        assert learner.learn(batch, step, 30).metrics["optim/lr"] == pytest.approx(expected)
        largest = max(float((tensor - before[name]).abs().max()) for name, tensor in weights(learner).items())
        assert largest == pytest.approx(expected, rel=0.01), (
            "the first update of Adam moves by the learning rate"
        )


def test_the_entropy_of_the_teacher_is_that_of_the_plain_model(world: World) -> None:
    learner, batch = make(world, SDAR(gate="teacher-entropy"), micro_tokens=40)
    scored = batch.streams[Stream.TEACHER_ENTROPY]
    model = tiny_model()
    for row, sample in enumerate(batch.samples):
        logps = model(torch.tensor([[*sample.teacher_prompt, *sample.body]])).logits[0, :-1].log_softmax(-1)
        expected = -(logps.exp() * logps).sum(-1)[-len(sample.body) :][torch.tensor(sample.policy)]
        torch.testing.assert_close(scored[batch.columns([row])], expected, atol=1e-4, rtol=1e-4)
    assert math.isfinite(learner.learn(batch, 1, 10).metrics["sdar/gate_mean"])


def test_a_batch_that_nobody_teaches_has_zeros_for_the_teacher(world: World) -> None:
    learner, batch = make(world, SDAR(gate="teacher-entropy"))
    batch = replace(batch, samples=[replace(sample, teacher_prompt=()) for sample in batch.samples])
    scores = learner.score(batch, Stream.TEACHER)
    assert scores.entropy is not None
    assert not scores.logp.any()
    assert not scores.entropy.any()


@pytest.mark.parametrize("top_k", [0, 3])
def test_a_divergence_of_distributions_is_that_of_the_plain_model(world: World, top_k: int) -> None:
    """The loss and its gradient, from whole logits of student and teacher; a padded row has no teacher."""
    learner, batch = make(world, OPSD(divergence="forward-kl", top_k=top_k), reference=False, micro_tokens=40)
    batch = replace(batch, samples=[replace(batch.samples[0], teacher_prompt=()), *batch.samples[1:]])
    batch.put(Stream.TEACHER, learner.score(batch, Stream.TEACHER))
    model, total = tiny_model(), torch.zeros(())
    for sample in batch.samples[1:]:
        chosen = torch.tensor(sample.policy)
        student, teacher = (
            model(torch.tensor([[*prompt, *sample.body]]))
            .logits[0, :-1]
            .log_softmax(-1)[-len(chosen) :][chosen]
            for prompt in (sample.prompt, sample.teacher_prompt)
        )
        teacher = teacher.detach()
        if top_k:
            ids = teacher.topk(top_k).indices
            student, teacher = (
                torch.cat([p, 1 - p.sum(1, keepdim=True)], 1).log()
                for p in (student.exp().gather(1, ids), teacher.exp().gather(1, ids))
            )
        total = total + (teacher.exp() * (teacher - student)).sum()
    total = total / len(batch.rollout_M)
    total.backward()
    expected = {name: p.grad for name, p in Policy(model).named_parameters()}
    seen: dict[str, torch.Tensor] = {}
    learner.optimizer.register_step_pre_hook(
        lambda *_: seen.update({name: full(p.grad).clone() for name, p in learner.policy.named_parameters()})
    )
    learned = replace(learner, config=replace(learner.config, max_grad_norm=0.0)).learn(batch, 1, 10)
    assert learned.metrics["objective/loss"] == pytest.approx(total.item(), rel=1e-4)
    assert seen.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(seen[name], gradient, atol=1e-5, rtol=1e-3)


def test_some_rows_can_be_scored_anew(world: World) -> None:
    learner, batch = make(world, SDAR(divergence="reverse-kl", top_k=5, gate="teacher-entropy"))
    before = dict(batch.streams)
    learner.learn(batch, 1, 10)
    batch.put(Stream.TEACHER, learner.score(batch, Stream.TEACHER, rows=[2, 4]), [2, 4])
    new, old = batch.columns([2, 4]), batch.columns([0, 1, 3, 5])
    for stream in (Stream.TEACHER, Stream.TEACHER_ENTROPY, Stream.TEACHER_TOP):
        assert torch.equal(batch.streams[stream][old], before[stream][old])
        assert not torch.allclose(batch.streams[stream][new], before[stream][new], atol=1e-3)
