"""Attention of new tokens over a `RaggedCache`, inside any stock transformers model.

The model runs on one flat line of tokens, shape (1, N): the new tokens of all rows one after another, so no
linear layer ever works on padding. Only attention looks at rows. The `AttentionInterface` of transformers
hands the queries, keys and values of every layer to `_attention`, and the keyword argument `ragged` of the
model's forward says what to do with them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from sdar.errors import ConfigError
from sdar.rollout.engines.cache import RaggedCache, Row

ATTENTION = "sdar_ragged"


class Step:
    """One forward pass: `counts[i]` new tokens follow what the cache holds of `rows[i]`.

    Rows with one new token, which stand first, are attended to in one call for all; the others row by row,
    which costs a call each and wastes nothing on padding.
    """

    def __init__(self, cache: RaggedCache, rows: Sequence[Row], counts: Sequence[int], like: Tensor) -> None:
        """`like` has the model's device and dtype."""
        self.cache = cache
        places = [row.place for row in rows]
        spans = [(len(row.tokens), len(row.tokens) + n) for row, n in zip(rows, counts, strict=True)]
        cache.reserve(max(end for _, end in spans))
        positions = [i for start, end in spans for i in range(start, end)]
        repeated = [place for place, n in zip(places, counts, strict=True) for _ in range(n)]
        self.place_N, self.position_N = torch.tensor([repeated, positions], device=like.device)
        self.singles = next((i for i, n in enumerate(counts) if n > 1), len(counts))
        if self.singles:
            self._prepare_singles(places[: self.singles], like)
        self._longer = [
            (place, start, end, _suffix_mask(start, end, like))
            for place, (start, end) in zip(places[self.singles :], spans[self.singles :], strict=True)
        ]

    def _prepare_singles(self, places: Sequence[int], like: Tensor) -> None:
        """Make the mask, which all layers share."""
        self._front = max(places) + 1
        self._whole = list(places) == list(range(self._front))
        place_S, position_S = self.place_N[: self.singles], self.position_N[: self.singles]
        self._width = int(position_S.max()) + 1
        last = position_S.new_zeros(self._front)
        last[place_S] = position_S
        hidden = torch.arange(self._width, device=like.device) > last[:, None]
        self._mask = like.new_zeros(hidden.shape).masked_fill_(hidden, float("-inf"))[:, None, None]

    def attend(self, q_NHD: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Attention output (N, H, D) of the new tokens, whose keys and values are already in the cache."""
        parts = []
        if self.singles:
            parts.append(self._attend_singles(q_NHD[: self.singles], keys, values, scale))
        if self._longer:
            parts.append(self._attend_longer(q_NHD[self.singles :], keys, values, scale))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _attend_longer(self, q_NHD: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        out = torch.empty_like(q_NHD)
        first = 0
        for place, start, end, mask in self._longer:
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

    def _attend_singles(self, q_NHD: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Query heads that share keys are laid out as queries of one head."""
        shape = (self._front, keys.shape[1], -1, q_NHD.shape[-1])
        if self._whole:
            q = q_NHD
        else:
            q = q_NHD.new_zeros(self._front, *q_NHD.shape[1:])
            q[self.place_N[: self.singles]] = q_NHD
        out = scaled_dot_product_attention(
            q.reshape(shape),
            keys[: self._front, :, : self._width],
            values[: self._front, :, : self._width],
            attn_mask=self._mask.expand(-1, keys.shape[1], q_NHD.shape[1] // keys.shape[1], -1),
            scale=scale,
        )
        out = out.reshape(self._front, *q_NHD.shape[1:])
        return out if self._whole else out[self.place_N[: self.singles]]


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
    keys, values = ragged.cache.write(
        layer, key[0].transpose(0, 1), value[0].transpose(0, 1), ragged.place_N, ragged.position_N
    )
    return ragged.attend(query[0].transpose(0, 1), keys, values, scaling)[None], None


AttentionInterface.register(ATTENTION, _attention)
