"""The attention function itself, against softmax attention written out, on both of its routes."""

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.tiny import tiny_model
from torch import Tensor, nn
from torch.nn import functional as F

from sdar.errors import ConfigError
from sdar.model import attention
from sdar.model.attention import Segments, varlen_attention
from sdar.model.policy import Packed, Policy

LENGTHS, HEADS, KV_HEADS, WIDTH, SCALE = (5, 1, 9), 4, 2, 8, 0.3


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, heads, sum(LENGTHS), WIDTH) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    q, k, v = (torch.randn(shape, generator=generator).requires_grad_() for shape in shapes)
    return q, k, v


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention under an N x N mask."""
    owner = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    seen = (owner[:, None] == owner[None]).tril()
    k, v = (x.repeat_interleave(HEADS // KV_HEADS, dim=1) for x in (k, v))
    scores = (SCALE * q @ k.mT).masked_fill(~seen, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2)


def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    segments = Segments.of(LENGTHS, q.device)
    return varlen_attention(nn.Identity(), q, k, v, None, scaling=SCALE, segments=segments)[0]


def assert_correct() -> None:
    got, want = inputs(), inputs()
    found, expected = run(*got), written_out(*want)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for a, b in zip(
        torch.autograd.grad((found * weights).sum(), got),
        torch.autograd.grad((expected * weights).sum(), want),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def segment_by_segment(q: Tensor, k: Tensor, v: Tensor, at: Tensor, scale: float) -> Tensor:
    rows = [x.split(at.diff().tolist()) for x in (q, k, v)]
    outputs = [
        F.scaled_dot_product_attention(*(x.transpose(0, 1) for x in row), is_causal=True, scale=scale)
        for row in zip(*rows, strict=True)
    ]
    return torch.cat([output.transpose(0, 1) for output in outputs])


def older_varlen(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, *, scale: float,
    window_size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """Stands for torch's kernel before it took fewer key than query heads."""
    assert q.shape == k.shape == v.shape
    assert cu_q.dtype == torch.int32
    assert max_q == max_k == max(LENGTHS)
    assert window_size == (-1, 0)
    return segment_by_segment(q, k, v, cu_q, scale)


def newer_varlen(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, *, scale: float,
    window_size: tuple[int, int], enable_gqa: bool,
) -> Tensor:  # fmt: skip
    """Stands for torch's kernel of today."""
    assert enable_gqa
    assert k.shape[1] == KV_HEADS
    k, v = (x.repeat_interleave(HEADS // KV_HEADS, dim=1) for x in (k, v))
    return older_varlen(q, k, v, cu_q, cu_k, max_q, max_k, scale=scale, window_size=window_size)


def first_varlen(*args: Tensor, is_causal: bool) -> Tensor:
    """Stands for torch 2.10's kernel, which takes no scale."""
    raise AssertionError("must not be called")


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    attention._flash.cache_clear()
    yield
    attention._flash.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., Tensor]) -> None:
    module: Any = types.ModuleType("varlen")
    module.varlen_attn = kernel
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)


def test_segment_by_segment() -> None:
    assert_correct()


PARENTS = (-1, 0, 0)
"""Of the segments of LENGTHS, where they share beginnings."""


def lower_right_varlen(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, *, scale: float,
    window_size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """Stands for flash attention of queries that are the last of what they read."""
    assert (max_q, max_k) == (int(cu_q.diff().max()), int(cu_k.diff().max()))
    outputs = []
    for row in zip(
        q.split(cu_q.diff().tolist()), *(x.split(cu_k.diff().tolist()) for x in (k, v)), strict=True
    ):
        query, key, value = (x.transpose(0, 1) for x in row)
        seen = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool).tril(key.shape[1] - query.shape[1])
        outputs.append(F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale))
    return torch.cat([output.transpose(0, 1) for output in outputs])


@pytest.mark.usefixtures("fresh_choice")
@pytest.mark.parametrize("fused", [False, True])
def test_a_segment_reads_the_segments_before_it_on_its_path(
    monkeypatch: pytest.MonkeyPatch, fused: bool
) -> None:
    if fused:
        install(monkeypatch, lower_right_varlen)
        monkeypatch.setattr(attention, "_fused_kernel", lambda query: attention._flash())
    q, k, v = inputs()
    segments = Segments.of(LENGTHS, q.device, PARENTS)
    found = varlen_attention(nn.Identity(), q, k, v, None, scaling=SCALE, segments=segments)[0]
    paths, parts = [(0,), (0, 1), (0, 2)], [x.split(LENGTHS, dim=2) for x in (q, k, v)]
    for part, path, length in zip(found.split(LENGTHS, dim=1), paths, LENGTHS, strict=True):
        whole = [torch.cat([x[i] for i in path], dim=2) for x in parts]
        wide = [whole[0], *(x.repeat_interleave(HEADS // KV_HEADS, dim=1) for x in whole[1:])]
        want = F.scaled_dot_product_attention(*wide, is_causal=True, scale=SCALE).transpose(1, 2)
        torch.testing.assert_close(part, want[:, -length:])


@pytest.mark.parametrize("parents", [(), PARENTS])
def test_in_the_last_layer_only_what_is_read_attends(parents: tuple[int, ...]) -> None:
    q, k, v = inputs()
    ends = [sum(LENGTHS[: i + 1]) for i in range(len(LENGTHS))]
    needed = torch.tensor([ends[1] - 1, ends[2] - 2, ends[2] - 1])
    whole = Segments.of(LENGTHS, q.device, parents, needed)
    last = replace(whole, is_last=True)
    assert whole.asking == tuple(LENGTHS)
    assert last.asking == (0, 1, 2 if parents or LENGTHS[2] > 3 else LENGTHS[2])
    want, found = (
        varlen_attention(nn.Identity(), q, k, v, None, scaling=SCALE, segments=each)[0]
        for each in (whole, last)
    )
    assert found.shape == want.shape
    torch.testing.assert_close(found[:, needed], want[:, needed])
    assert not found[:, : ends[0]].any()


def test_a_beginning_of_which_most_is_read_is_one_causal_pass() -> None:
    needed = torch.tensor([2, 6, 9])
    segments = replace(Segments.of([5, 5], torch.device("cpu"), (), needed), is_last=True)
    assert segments.asking == (5, 5)
    assert segments.mask(0, 1, torch.zeros(1)) is None


@pytest.mark.usefixtures("fresh_choice")
@pytest.mark.parametrize("kernel", [older_varlen, newer_varlen])
def test_through_a_fused_kernel(monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., Tensor]) -> None:
    calls: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(1)
        return kernel(*args, **kwargs)

    counted.__signature__ = inspect.signature(kernel)  # type: ignore[attr-defined]
    install(monkeypatch, counted)
    monkeypatch.setattr(attention, "_fused_kernel", lambda query: attention._flash())
    assert_correct()
    assert calls == [1]


@pytest.mark.usefixtures("fresh_choice")
def test_a_kernel_that_lacks_what_is_needed_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, first_varlen)
    assert attention._flash() is None


def test_no_fused_kernel_on_a_cpu() -> None:
    assert attention._fused_kernel(torch.zeros(1, 2, 4, 8, dtype=torch.bfloat16)) is None


def test_the_kernel_of_this_torch_is_known() -> None:
    """A change of its signature must not silently put a GPU on the slow route."""
    if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 12):
        assert attention._flash() is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"segments": None}, "needs `segments`"),
        ({"attention_mask": torch.ones(1, 1, 4, 4)}, "its own attention mask"),
        ({"sliding_window": 3}, "sliding window of 3 tokens, but a sequence has 4"),
        ({"softcap": 50.0}, "caps its scores"),
        ({"s_aux": torch.zeros(2)}, "attention sinks"),
        ({"is_causal": False}, "not causal"),
    ],
)
def test_attention_that_would_be_wrong_is_refused(changes: dict[str, Any], said: str) -> None:
    q = torch.zeros(1, 2, 4, 8)
    given = {"attention_mask": None, "segments": Segments.of([4], q.device), "sliding_window": 4} | changes
    with pytest.raises(ConfigError, match=said):
        varlen_attention(nn.Identity(), q, q, q, **given)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_half_precision_on_a_gpu() -> None:
    pack = Packed.from_sequences([([7] * n, [1, n // 2, n - 1]) for n in (300, 40, 129)])
    model = tiny_model(hidden=64)
    with torch.no_grad():
        exact = Policy(model)(pack).logp
    policy = Policy(model.to("cuda", torch.bfloat16))
    scores = policy(pack.to(torch.device("cuda")))
    scores.logp.sum().backward()
    torch.testing.assert_close(scores.logp.detach().cpu(), exact, atol=0.1, rtol=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in policy.parameters())
