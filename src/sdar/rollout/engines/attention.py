"""Attention of new tokens over a `RaggedCache`, inside any stock transformers model.

The model runs on one flat line of tokens, shape (1, N): the new tokens of all rows one after another, so no
linear layer ever works on padding. Only attention looks at rows. The `AttentionInterface` of transformers
hands the queries, keys and values of every layer to `_attention`, and the keyword argument `ragged` of the
model's forward says what to do with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from sdar.errors import ConfigError
from sdar.rollout.engines.cache import RaggedCache, Row, Slab

ATTENTION = "sdar_ragged"


class Step:
    """One forward pass: `counts[i]` new tokens follow what the cache holds of `rows[i]`.

    Rows with one new token, which stand first, slab by slab, are attended to in one call for each slab; the
    others row by row, which costs a call each and wastes nothing on padding.
    """

    def __init__(self, cache: RaggedCache, rows: Sequence[Row], counts: Sequence[int], like: Tensor) -> None:
        """`like` has the model's device and dtype."""
        spans = [(len(row.tokens), len(row.tokens) + n) for row, n in zip(rows, counts, strict=True)]
        slabs = [cache.reserve(row, end) for row, (_, end) in zip(rows, spans, strict=True)]
        positions = [i for start, end in spans for i in range(start, end)]
        self.position_N = torch.tensor(positions, device=like.device)
        singles = next((i for i, n in enumerate(counts) if n > 1), len(counts))
        self._parts: list[_Singles | _Longer] = []
        first = 0
        for slab, group in groupby(slabs[:singles]):
            last = first + len(list(group))
            places = [row.place for row in rows[first:last]]
            self._parts.append(_Singles(slab, first, places, self.position_N[first:last], like))
            first = last
        for slab, row, (start, end) in zip(slabs, rows, spans, strict=True):
            if end - start > 1:
                self._parts.append(
                    _Longer(slab, first, row.place, start, end, _suffix_mask(start, end, like))
                )
                first += end - start

    def attend(self, layer: int, q_NHD: Tensor, k_NHD: Tensor, v_NHD: Tensor, scale: float) -> Tensor:
        """Keep keys and values of the new tokens; their attention output (N, H, D)."""
        outputs = []
        for part in self._parts:
            new = slice(part.first, part.last)
            keys, values = part.slab.layer(layer, k_NHD)
            part.write(keys, k_NHD[new])
            part.write(values, v_NHD[new])
            outputs.append(part.attend(q_NHD[new], keys, values, scale))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


class _Singles:
    """The rows of a slab that have one new token each."""

    def __init__(
        self, slab: Slab, first: int, places: Sequence[int], position_S: Tensor, like: Tensor
    ) -> None:
        """Make the mask, which all layers share."""
        self.slab, self.first, self.last = slab, first, first + len(places)
        self._place_S = torch.tensor(places, device=like.device)
        self._position_S = position_S
        self._front = max(places) + 1
        self._whole = list(places) == list(range(self._front))
        self._width = int(position_S.max()) + 1
        last = position_S.new_zeros(self._front)
        last[self._place_S] = position_S
        hidden = torch.arange(self._width, device=like.device) > last[:, None]
        self._mask = like.new_zeros(hidden.shape).masked_fill_(hidden, float("-inf"))[:, None, None]

    def write(self, kept: Tensor, new_SHD: Tensor) -> None:
        """Keep what is new in the keys or values of the slab."""
        kept[self._place_S, :, self._position_S] = new_SHD

    def attend(self, q_SHD: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Query heads that share keys are laid out as queries of one head."""
        shape = (self._front, keys.shape[1], -1, q_SHD.shape[-1])
        if self._whole:
            q = q_SHD
        else:
            q = q_SHD.new_zeros(self._front, *q_SHD.shape[1:])
            q[self._place_S] = q_SHD
        out = scaled_dot_product_attention(
            q.reshape(shape),
            keys[: self._front, :, : self._width],
            values[: self._front, :, : self._width],
            attn_mask=self._mask.expand(-1, keys.shape[1], q_SHD.shape[1] // keys.shape[1], -1),
            scale=scale,
        )
        out = out.reshape(self._front, *q_SHD.shape[1:])
        return out if self._whole else out[self._place_S]


@dataclass
class _Longer:
    """A row with several new tokens, from `start` to before `end`."""

    slab: Slab
    first: int
    place: int
    start: int
    end: int
    mask: Tensor | None

    @property
    def last(self) -> int:
        """Where its new tokens end in the line."""
        return self.first + self.end - self.start

    def write(self, kept: Tensor, new_nHD: Tensor) -> None:
        """Keep what is new in the keys or values of the slab."""
        kept[self.place, :, self.start : self.end] = new_nHD.transpose(0, 1)

    def attend(self, q_nHD: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Attention of this row alone."""
        row = scaled_dot_product_attention(
            q_nHD[None].transpose(1, 2),
            keys[self.place, None, :, : self.end],
            values[self.place, None, :, : self.end],
            attn_mask=self.mask,
            is_causal=self.start == 0,
            scale=scale,
            enable_gqa=True,
        )
        return row[0].transpose(0, 1)


def _suffix_mask(start: int, end: int, like: Tensor) -> Tensor | None:
    """What tokens start ... end - 1 add to their scores over 0 ... end - 1; None where nothing is needed."""
    if start == 0:
        return None
    return like.new_full((end - start, end), float("-inf")).triu_(start + 1)


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
    q_NHD, k_NHD, v_NHD = (x[0].transpose(0, 1) for x in (query, key, value))
    return ragged.attend(layer, q_NHD, k_NHD, v_NHD, scaling)[None], None


AttentionInterface.register(ATTENTION, _attention)
