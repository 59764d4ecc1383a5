"""Spares the last decoder layer what nobody reads: it attends and its MLP works for tokens that are read."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn


def narrow_last_layer(decoder: nn.Module) -> None:
    """Let `decoder`'s last layer leave out tokens that are not in `Segments.needed`, beyond keys and values.

    Their final states are then not those of the model. Of a short model whose prompts are long this is a good
    part of the work. A layer without a dense MLP under the usual name stays as it is, and so does one that
    was narrowed for another policy with the same model.
    """
    layer: Any = list(decoder.layers)[-1]  # type: ignore[arg-type]
    if hasattr(getattr(layer, "mlp", None), "down_proj") and not hasattr(layer, "narrow"):
        narrow = layer.narrow = _Narrow()
        layer.register_forward_pre_hook(narrow.begin, with_kwargs=True)
        layer.mlp.register_forward_pre_hook(narrow.before)
        layer.mlp.register_forward_hook(narrow.after)


class _Narrow:
    """Hooks. The layer says anew what is needed each time that it runs, so it may run again when it likes."""

    def __init__(self) -> None:
        self._needed: Tensor | None = None
        self._tokens = 0

    def begin(self, layer: nn.Module, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before the layer: its attention is told that it is the last, in passes that only score.

        Gradients would be rounded in another way than in the runs that are recorded.
        """
        segments = named.get("segments")
        self._needed = None if segments is None else segments.needed
        if segments is not None and not torch.is_grad_enabled():
            named = named | {"segments": replace(segments, is_last=True)}
        return inputs, named

    def before(self, mlp: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        """Before the MLP: only the rows that are needed of (1, N, D)."""
        if self._needed is None:
            return None
        self._tokens = inputs[0].shape[1]
        return (inputs[0].index_select(1, self._needed),)

    def after(self, mlp: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        """After it: 0 for the others."""
        if self._needed is None:
            return None
        whole = output.new_zeros(1, self._tokens, output.shape[2])
        return whole.index_copy(1, self._needed, output)
