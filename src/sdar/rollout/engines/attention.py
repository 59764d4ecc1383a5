"""Attention of new tokens over a `RaggedCache`, inside any stock transformers model.

The model runs on one flat line of tokens, shape (1, N): the new tokens of all rows one after another, so no
linear layer ever works on padding. Only attention looks at rows. The `AttentionInterface` of transformers
hands the queries, keys and values of every layer to `_attention`, and the keyword argument `ragged` of the
model's forward says what to do with them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from sdar.errors import ConfigError
from sdar.rollout.engines.cache import RaggedCache, Row

ATTENTION = "sdar_ragged"


class Step(ABC):
    """One forward pass: `counts[i]` new tokens follow what the cache holds of `rows[i]`."""

    def __init__(self, cache: RaggedCache, rows: Sequence[Row], counts: Sequence[int], like: Tensor) -> None:
        """`like` has the model's device and dtype."""
        self.cache = cache
        self.places = [row.place for row in rows]
        self.spans = [(len(row.tokens), len(row.tokens) + n) for row, n in zip(rows, counts, strict=True)]
        self.width = max(end for _, end in self.spans)
        cache.reserve(self.width)
        positions = [i for start, end in self.spans for i in range(start, end)]
        places = [place for place, n in zip(self.places, counts, strict=True) for _ in range(n)]
        self.place_N, self.position_N = torch.tensor([places, positions], device=like.device)
        self._prepare(like)

    @abstractmethod
    def _prepare(self, like: Tensor) -> None:
        """Make the masks, which all layers share."""

    @abstractmethod
    def attend(self, q_NHD: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Attention output (N, H, D) of the new tokens, whose keys and values are already in the cache."""


class Prefill(Step):
    """Several tokens a row: attends row by row, which costs a call each and wastes nothing on padding."""

    def _prepare(self, like: Tensor) -> None:
        self.masks = [_suffix_mask(start, end, like) for start, end in self.spans]

    def attend(self, q_NHD: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """See `Step.attend`."""
        out = torch.empty_like(q_NHD)
        first = 0
        for place, (start, end), mask in zip(self.places, self.spans, self.masks, strict=True):
            last = first + end - start
            row = scaled_dot_product_attention(
                q_NHD[None, first:last].transpose(1, 2),
                keys[place, None, :, :end],
                values[place, None, :, :end],
                attn_mask=mask,
                is_causal=start == 0,
                scale=scale,
                enable_gqa=True,
            )
            out[first:last] = row[0].transpose(0, 1)
            first = last
        return out


def _suffix_mask(start: int, end: int, like: Tensor) -> Tensor | None:
    """What tokens start ... end - 1 add to their scores over 0 ... end - 1; None where nothing is needed."""
    if start == 0 or end - start == 1:
        return None
    return like.new_full((end - start, end), float("-inf")).triu_(start + 1)


class Decode(Step):
    """One token a row: one call for all. Query heads that share keys are laid out as queries of one head."""

    def _prepare(self, like: Tensor) -> None:
        self.front = max(self.places) + 1
        self.whole = self.places == list(range(self.front))
        last = self.position_N.new_zeros(self.front)
        last[self.place_N] = self.position_N
        hidden = torch.arange(self.width, device=like.device) > last[:, None]
        self.mask = like.new_zeros(hidden.shape).masked_fill_(hidden, float("-inf"))[:, None, None]

    def attend(self, q_NHD: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """See `Step.attend`."""
        shape = (self.front, keys.shape[1], -1, q_NHD.shape[-1])
        if self.whole:
            q = q_NHD
        else:
            q = q_NHD.new_zeros(self.front, *q_NHD.shape[1:])
            q[self.place_N] = q_NHD
        out = scaled_dot_product_attention(
            q.reshape(shape),
            keys[: self.front, :, : self.width],
            values[: self.front, :, : self.width],
            attn_mask=self.mask.expand(-1, keys.shape[1], q_NHD.shape[1] // keys.shape[1], -1),
            scale=scale,
        )
        out = out.reshape(self.front, *q_NHD.shape[1:])
        return out if self.whole else out[self.place_N]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    ragged: Step | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """What transformers calls: query (1, H, N, D), key and value (1, KV, N, D) -> (1, N, H, D), None."""
    if ragged is None:
        raise ConfigError("the hf engine does not support models that keep keyword arguments from attention")
    for option in ("sliding_window", "softcap", "s_aux"):
        if unused.get(option) is not None:
            raise ConfigError(f"the hf engine does not support models with {option} attention")
    layer: Any = module.layer_idx
    keys, values = ragged.cache.write(
        layer, key[0].transpose(0, 1), value[0].transpose(0, 1), ragged.place_N, ragged.position_N
    )
    return ragged.attend(query[0].transpose(0, 1), keys, values, scaling)[None], None


AttentionInterface.register(ATTENTION, _attention)
