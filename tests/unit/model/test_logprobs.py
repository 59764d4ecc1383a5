"""Chunked log-probs against logits that exist all at once."""

import math

import pytest
import torch
from torch import Tensor, nn

from sdar.model.logprobs import TokenScores, chunk_tokens, chunked_logp, selective_logp

M, D, V = 37, 8, 53


def problem(bias: bool = False) -> tuple[Tensor, nn.Linear, Tensor]:
    torch.manual_seed(0)
    return torch.randn(M, D), nn.Linear(D, V, bias=bias), torch.randint(V, (M,))


def textbook(logits: Tensor, targets: Tensor, temperature: float) -> TokenScores:
    """By the definitions, in float64."""
    weights = (logits.double() / temperature).exp()
    p = weights / weights.sum(-1, keepdim=True)
    return TokenScores(p[torch.arange(len(p)), targets].log(), -(p * p.log()).sum(-1))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk_size", [1, 10, M, 1000])
def test_values_and_gradients(bias: bool, chunk_size: int) -> None:
    hidden, head, targets = problem(bias)
    hidden.requires_grad_()
    scores = chunked_logp(hidden, head, targets, temperature=0.7, with_entropy=True, chunk_size=chunk_size)
    expected = textbook(head(hidden), targets, 0.7)
    assert scores.entropy is not None
    assert expected.entropy is not None
    torch.testing.assert_close(scores.logp, expected.logp.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores.entropy, expected.entropy.float(), atol=1e-5, rtol=1e-5)
    weights = torch.randn(M)
    leaves = [hidden, *head.parameters()]
    got = torch.autograd.grad((scores.logp * weights + scores.entropy).sum(), leaves)
    want = torch.autograd.grad((expected.logp * weights + expected.entropy).sum(), leaves)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("top", [0, 1, 5, V, 1000])
def test_likeliest_tokens_and_a_bucket_are_a_distribution(top: int) -> None:
    hidden, head, targets = problem()
    whole = (head(hidden) / 0.7).log_softmax(-1)
    scores = chunked_logp(hidden, head, targets, temperature=0.7, top=top, chunk_size=10)
    assert scores.top is not None
    torch.testing.assert_close(scores.logp, whole[torch.arange(M), targets])
    if not 0 < top < V:
        torch.testing.assert_close(scores.top, whole)
        assert scores.ids is None
        return
    assert scores.ids is not None
    order = whole.sort(descending=True)
    torch.testing.assert_close(scores.top[:, :top], order.values[:, :top])
    torch.testing.assert_close(whole.gather(1, scores.ids), scores.top[:, :top])
    torch.testing.assert_close(scores.top.exp().sum(1), torch.ones(M))


@pytest.mark.parametrize("chunk_size", [10, 1000])
def test_gradients_at_chosen_tokens_and_their_bucket(chunk_size: int) -> None:
    hidden, head, targets = problem()
    hidden.requires_grad_()
    ids = torch.rand(M, V).argsort(1)[:, :4]
    scores = chunked_logp(hidden, head, targets, with_entropy=True, top=ids, chunk_size=chunk_size)
    assert scores.top is not None
    assert scores.entropy is not None
    p = head(hidden).double().softmax(-1)
    kept = p.gather(1, ids)
    expected = torch.cat([kept, 1 - kept.sum(1, keepdim=True)], 1).log()
    torch.testing.assert_close(scores.top, expected.float(), atol=1e-5, rtol=1e-5)
    weights = torch.randn(M, 5)
    leaves = [hidden, head.weight]
    got = torch.autograd.grad((scores.top * weights).sum() + scores.entropy.sum(), leaves)
    entropy = -(p * p.log()).sum()
    want = torch.autograd.grad((expected * weights).sum() + entropy, leaves)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b.float(), atol=1e-5, rtol=1e-5)


def test_the_bucket_is_exact_where_the_kept_tokens_have_all_the_mass() -> None:
    logits = torch.tensor([[60.0, 1.0, 0.0, 0.0]], requires_grad=True)
    top = selective_logp(logits, torch.tensor([0]), top=1).top
    assert top is not None
    assert top[0, 1].item() == pytest.approx(math.log(math.e + 2) - 60, rel=1e-6)
    (slope,) = torch.autograd.grad(top[0, 1], logits)
    share = 1 / (math.e + 2)
    assert slope[0].tolist() == pytest.approx([-1.0, math.e * share, share, share], rel=1e-5)


def test_entropy_only_on_request_and_the_log_prob_is_the_same() -> None:
    hidden, head, targets = problem()
    without = chunked_logp(hidden, head, targets, chunk_size=10)
    with_it = chunked_logp(hidden, head, targets, with_entropy=True, chunk_size=10)
    assert without.entropy is None
    torch.testing.assert_close(without.logp, with_it.logp)


def test_half_precision_logits_are_raised_before_the_softmax() -> None:
    logits, targets = torch.randn(M, V).bfloat16(), torch.randint(V, (M,))
    scores = selective_logp(logits, targets)
    assert scores.logp.dtype == torch.float32
    torch.testing.assert_close(scores.logp, textbook(logits, targets, 1.0).logp.float())


@pytest.mark.parametrize("grad", [False, True])
def test_no_more_than_a_chunk_of_logits_is_alive(grad: bool) -> None:
    hidden, head, targets = problem()
    sizes: list[int] = []
    head.register_forward_hook(lambda module, args, out: sizes.append(out.shape[0]))
    kept: list[int] = []

    def keep(saved: Tensor) -> Tensor:
        kept.append(saved.numel())
        return saved

    with torch.set_grad_enabled(grad), torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        scores = chunked_logp(hidden, head, targets, chunk_size=10)
    assert sizes == [10, 10, 10, 7]
    assert max(kept, default=0) < 7 * V, "logits were kept for the backward pass"
    if grad:
        scores.logp.sum().backward()
        assert sorted(sizes) == sorted([10, 10, 10, 7] * 2)
    else:
        assert not scores.logp.requires_grad


def test_nothing_to_score_still_has_a_gradient() -> None:
    hidden, head, targets = problem()
    scores = chunked_logp(hidden[:0], head, targets[:0], with_entropy=True, chunk_size=10)
    assert scores.logp.shape == (0,)
    scores.logp.sum().backward()
    assert head.weight.grad is not None
    assert not head.weight.grad.any()


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_must_be_positive(temperature: float) -> None:
    hidden, head, targets = problem()
    with pytest.raises(ValueError, match="above 0"):
        chunked_logp(hidden, head, targets, temperature=temperature, chunk_size=10)


def test_chunks_shrink_with_the_vocabulary_but_not_to_nothing() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert chunk_tokens(1500, cpu) > chunk_tokens(150_000, cpu) >= 32
    assert chunk_tokens(150_000, gpu) * 150_000 * 4 <= 2**29
    assert chunk_tokens(10**9, cpu) == 32
