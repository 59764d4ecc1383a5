"""Causal attention over sequences laid end to end, what they begin with alike once: no padding.

Importing this module adds the attention function `sdar_varlen` to transformers. A model whose attention is
`sdar_varlen` takes the keyword argument `segments` in its forward pass and hands it down to every layer.
transformers makes no mask for it, because it has no mask function of that name.
"""

import inspect
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
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
    """How sequences lie in a flat row of N tokens: S segments, each behind its parent or a beginning."""

    lengths: tuple[int, ...]
    """Tokens of each segment, in order; they add up to N."""
    offsets: Tensor
    """(S + 1,) int32 on the model's device: where each segment starts, and N."""
    reads: tuple[tuple[int, ...], ...]
    """The segments that each one's tokens attend to, from the beginning of the sequence to itself."""
    read_lengths: tuple[int, ...]
    """Tokens of these."""
    read_offsets: Tensor
    """(S + 1,) int32: where the keys of each segment start when they are laid end to end."""
    needed: Tensor | None = None
    """Ascending indices of the tokens whose final hidden states are read; None: all of them."""
    is_last: bool = False
    """Whether they are handed to the last layer, where nobody reads what the other tokens attend to."""
    _masks: dict[tuple[int, int, torch.dtype], Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        lengths: Sequence[int],
        device: torch.device,
        parents: Sequence[int] = (),
        needed: Tensor | None = None,
    ) -> "Segments":
        """Segments of these lengths; without `parents`, as in `sdar.model.prefixes`, each is a sequence."""
        offsets = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        if not any(parent >= 0 for parent in parents):
            alone = tuple((i,) for i in range(len(lengths)))
            return cls(tuple(lengths), offsets, alone, tuple(lengths), offsets, needed)
        reads: list[tuple[int, ...]] = []
        for number, parent in enumerate(parents):
            reads.append((*(reads[parent] if parent >= 0 else ()), number))
        read_lengths = tuple(sum(lengths[i] for i in path) for path in reads)
        read_offsets = torch.tensor([0, *accumulate(read_lengths)], dtype=torch.int32, device=device)
        return cls(tuple(lengths), offsets, tuple(reads), read_lengths, read_offsets, needed)

    @property
    def is_shared(self) -> bool:
        """Whether a segment has a parent."""
        return self.read_offsets is not self.offsets

    @cached_property
    def asking(self) -> tuple[int, ...]:
        """How many tokens at the end of each segment attend: in the last layer, from the first one read."""
        if not self.is_last or self.needed is None:
            return self.lengths
        needed, asking, end = self.needed.tolist(), [], 0
        for length, read in zip(self.lengths, self.read_lengths, strict=True):
            first, end = end, end + length
            place = bisect_left(needed, first)
            count = end - needed[place] if place < len(needed) and needed[place] < end else 0
            # Where a sequence begins, a causal pass over all of it costs half.
            asking.append(length if length == read and 2 * count > length else count)
        return tuple(asking)

    def mask(self, number: int, groups: int, like: Tensor) -> Tensor | None:
        """What a segment's asking tokens, `groups` times, add to their scores of what it reads.

        None where these are the whole sequence.
        """
        asking, read = self.asking[number], self.read_lengths[number]
        if asking == read:
            return None
        key = (asking, read, like.dtype)
        if key not in self._masks:
            mask = like.new_full((asking, read), float("-inf")).triu_(read - asking + 1)
            self._masks[key] = mask.repeat(groups, 1)
        return self._masks[key]


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
    """Causal attention within each sequence; the attention function that transformers calls in every layer.

    `query` is (1, heads, N, width); `key` and `value` may have fewer heads. Returns (1, N, heads, width), and
    None for the weights. Dropout is never applied. Raises `ConfigError` for what would change the result: a
    missing `segments`, a mask, a sliding window shorter than a segment, capped scores, attention sinks,
    attention that is not causal.
    """
    segments = _checked(module, segments, attention_mask, kwargs)
    fused = _fused_kernel(query)
    if fused is not None:
        if segments.is_shared:
            key, value = (torch.cat(_read(x, segments), dim=2) for x in (key, value))
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        return fused(q, k, v, segments, scaling).unsqueeze(0), None
    rows = zip(
        query.split(segments.lengths, dim=2), _read(key, segments), _read(value, segments), strict=True
    )
    outputs = [_attend(*row, segments, number, scaling) for number, row in enumerate(rows)]
    return torch.cat(outputs, dim=1), None


def _attend(
    q: Tensor, k: Tensor, v: Tensor, segments: Segments, number: int, scaling: float | None
) -> Tensor:
    """Attention (1, length, heads, width) of one segment; 0 for tokens at its beginning that do not ask."""
    groups, silent = q.shape[1] // k.shape[1], q.shape[2] - segments.asking[number]
    q = q[:, :, silent:]
    if not q.shape[2]:
        return q.new_zeros(1, silent, q.shape[1], q.shape[3])
    mask = segments.mask(number, groups, q)
    if mask is None:
        output = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
    else:
        # Query heads that share keys are laid out as queries of one head, so that keys are not copied.
        laid = q.reshape(1, k.shape[1], -1, q.shape[-1])
        output = F.scaled_dot_product_attention(laid, k, v, attn_mask=mask, scale=scaling).reshape(q.shape)
    return F.pad(output.transpose(1, 2), (0, 0, 0, 0, silent, 0)) if silent else output.transpose(1, 2)


def _read(x: Tensor, segments: Segments) -> list[Tensor]:
    """Keys or values (1, heads, N, width) as each segment reads them."""
    parts = x.split(segments.lengths, dim=2)
    return [
        parts[path[0]] if len(path) == 1 else torch.cat([parts[i] for i in path], dim=2)
        for path in segments.reads
    ]


AttentionInterface.register(VARLEN, varlen_attention)


def _checked(
    module: nn.Module, segments: Segments | None, mask: Tensor | None, kwargs: dict[str, Any]
) -> Segments:
    if segments is None:
        raise ConfigError(f"attention '{VARLEN}' needs `segments`; to generate or pad, use 'sdpa'")
    name = type(module).__name__
    if mask is not None:
        raise ConfigError(f"{name} brings its own attention mask, which '{VARLEN}' does not support")
    window, longest = kwargs.get("sliding_window"), max(segments.read_lengths)
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
        options |= {"scale": scale, "window_size": (-1, 0)}
        longest, read = max(segments.lengths), max(segments.read_lengths)
        output = varlen_attn(q, k, v, segments.offsets, segments.read_offsets, longest, read, **options)
        return cast(Tensor, output)

    return kernel
