"""Supervised learning by the trainer's own step."""

from itertools import cycle

import pytest
import torch
from tests.tiny import tiny_model

from sdar.model.policy import Packed, Policy
from sdar.rollout.samples import Sample
from sdar.trainer.distributed import join, shard
from sdar.trainer.imitation import Imitation, imitate
from sdar.trainer.settings import OptimConfig
from sdar.trainer.step import Learner, make_optimizer

SAMPLES = [
    Sample((5, 6, 7), (8, 9, 10), (True, False, True), (0.0, 0.0), (0, 1), 3),
    Sample((5,), (11, 12), (True, True), (0.0, 0.0), (4, 4), 0),
    Sample((9, 8), (7,), (True,), (0.0,), (0,), 0),
]


def make_learner(world, **settings) -> Learner:
    policy = Policy(tiny_model())
    shard(policy, world)
    config = OptimConfig(max_grad_norm=0.0, **settings)
    return Learner(
        policy=policy,
        optimizer=make_optimizer(policy, config),
        objective=Imitation(),
        config=config,
        world=world,
    )


def test_a_step_reports_the_mean_nll_of_the_experts_tokens_and_lowers_it():
    plain = Policy(tiny_model())
    packed = Packed.from_sequences([((5, 6, 7, 8, 9, 10), (3, 5)), ((5, 11, 12), (1, 2)), ((9, 8, 7), (2,))])
    expected = -plain(packed).logp.mean()
    with join("cpu") as world:
        seen = list(imitate(make_learner(world, lr=1e-2, micro_tokens=6), cycle(SAMPLES), steps=4, size=3))
    assert [done for done, _ in seen] == [1, 2, 3, 4]
    assert seen[0][1] == pytest.approx(float(expected), rel=1e-5)
    assert seen[-1][1] < seen[0][1]


def test_the_gradient_is_that_of_the_mean_nll_however_the_batch_is_cut():
    plain = Policy(tiny_model())
    packed = Packed.from_sequences([((5, 6, 7, 8, 9, 10), (3, 5)), ((5, 11, 12), (1, 2)), ((9, 8, 7), (2,))])
    (-plain(packed).logp.mean()).backward()
    name, wanted = next((n, p.grad) for n, p in plain.named_parameters() if p.ndim == 2 and "mlp" in n)
    for micro_tokens in (6, 100):
        found = []
        with join("cpu") as world:
            learner = make_learner(world, lr=1e-2, micro_tokens=micro_tokens)
            parameter = dict(learner.policy.named_parameters())[name]
            learner.optimizer.register_step_pre_hook(
                lambda *_, p=parameter, found=found: found.append(p.grad.full_tensor().clone())
            )
            next(imitate(learner, cycle(SAMPLES), steps=1, size=3))
        torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-6)
