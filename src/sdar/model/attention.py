"""Causal attention over sequences laid end to end: no padding, and no mask of tokens by tokens.

Importing this module adds the attention function `sdar_varlen` to transformers. A model whose attention is
`sdar_varlen` takes the keyword argument `segments` in its forward pass and hands it down to every layer.
transformers makes no mask for it, because it has no mask function of that name.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

from sdar.errors import ConfigError

VARLEN = "sdar_varlen"


@dataclass(frozen=True)
class Segments:
    """Where each sequence lies in a flat row of N tokens."""

    lengths: tuple[int, ...]
    """Tokens of each of the S sequences, in order; they add up to N."""
    offsets: Tensor
    """(S + 1,) int32 on the model's device: where each sequence starts, and N."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> "Segments":
        """Segments of these lengths."""
        offsets = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return cls(tuple(lengths), offsets)


def varlen_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each segment; the attention function that transformers calls in every layer.

    `query` is (1, heads, N, width); `key` and `value` may have fewer heads. Returns (1, N, heads, width), and
    None for the weights. Dropout is never applied. Raises `ConfigError` for what would change the result: a
    missing `segments`, a mask, a sliding window shorter than a segment, capped scores, attention sinks,
    attention that is not causal.
    """
    segments = _checked(module, segments, attention_mask, kwargs)
    fused = _fused_kernel(query)
    if fused is not None:
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        return fused(q, k, v, segments, scaling).unsqueeze(0), None
    rows = zip(*(x.split(segments.lengths, dim=2) for x in (query, key, value)), strict=True)
    outputs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        for q, k, v in rows
    ]
    return torch.cat([output.transpose(1, 2) for output in outputs], dim=1), None


AttentionInterface.register(VARLEN, varlen_attention)


def _checked(
    module: nn.Module, segments: Segments | None, mask: Tensor | None, kwargs: dict[str, Any]
) -> Segments:
    if segments is None:
        raise ConfigError(f"attention '{VARLEN}' needs `segments`; to generate or pad, use 'sdpa'")
    name = type(module).__name__
    if mask is not None:
        raise ConfigError(f"{name} brings its own attention mask, which '{VARLEN}' does not support")
    window, longest = kwargs.get("sliding_window"), max(segments.lengths)
    if window is not None and window < longest:
        raise ConfigError(f"{name} has a sliding window of {window} tokens, but a sequence has {longest}")
    for argument, meaning in (("softcap", "caps its scores"), ("s_aux", "has attention sinks")):
        if kwargs.get(argument) is not None:
            raise ConfigError(f"{name} {meaning}, which '{VARLEN}' does not support")
    if not kwargs.get("is_causal", getattr(module, "is_causal", True)):
        raise ConfigError(f"{name} is not causal")
    return segments


Kernel = Callable[[Tensor, Tensor, Tensor, Segments, float | None], Tensor]


def _fused_kernel(query: Tensor) -> Kernel | None:
    """Flash attention of variable length where it can take `query`: one launch for all segments."""
    if query.device.type != "cuda" or query.dtype not in (torch.float16, torch.bfloat16):
        return None
    width = query.shape[-1]
    return _flash() if width % 8 == 0 and width <= 256 else None


@cache
def _flash() -> Kernel | None:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    if "window_size" not in known or "scale" not in known:
        return None
    native_gqa = "enable_gqa" in known

    def kernel(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scale: float | None) -> Tensor:
        groups = q.shape[1] // k.shape[1]
        options: dict[str, Any] = {"enable_gqa": groups > 1} if native_gqa else {}
        if groups > 1 and not native_gqa:
            k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        at, longest = segments.offsets, max(segments.lengths)
        options |= {"scale": scale, "window_size": (-1, 0)}
        output = varlen_attn(q, k, v, at, at, longest, longest, **options)
        return cast(Tensor, output)

    return kernel
