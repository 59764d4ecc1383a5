import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sdar.rollout.engines.sampling import draw, uniforms


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_draws_follow_the_tempered_distribution(temperature):
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0, 1.1, -0.4])
    uniform = torch.tensor([uniforms(seed, 1)[0] for seed in range(4000)])
    tokens, logps = draw(logits.expand(4000, -1), uniform, temperature)
    expected = torch.softmax(logits / temperature, -1)
    counts = np.bincount(tokens.numpy(), minlength=6)
    assert chisquare(counts, 4000 * expected.double().numpy() / expected.double().sum().item()).pvalue > 1e-3
    torch.testing.assert_close(logps, expected.log()[tokens])


def test_a_token_without_probability_is_never_drawn():
    never = float("-inf")
    logits = torch.tensor([[never, 1.0, never, 0.0, never]]).expand(2, -1)
    tokens, _ = draw(logits, torch.tensor([0.0, 1 - 2**-32], dtype=torch.float64), 1.0)
    assert tokens.tolist() == [1, 3]


def test_temperature_zero_takes_the_likeliest_token():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    tokens, logps = draw(logits, torch.tensor([0.999]), 0.0)
    assert tokens.tolist() == [1]
    torch.testing.assert_close(logps, torch.log_softmax(logits, -1)[:, 1])


def test_half_precision_logits_are_scored_in_float32():
    logits = torch.randn(3, 50).bfloat16()
    tokens, logps = draw(logits, torch.rand(3), 1.0)
    assert logps.dtype == torch.float32
    torch.testing.assert_close(logps, torch.log_softmax(logits.float(), -1)[torch.arange(3), tokens])


def test_uniforms_of_different_seeds_differ_and_stay_below_one():
    numbers = np.stack([uniforms(seed, 100) for seed in (0, 1, 2**64 - 1)])
    assert len(np.unique(numbers)) == 300
    assert numbers.min() >= 0
    assert numbers.max() < 1
