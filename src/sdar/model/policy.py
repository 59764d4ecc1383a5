"""The policy as the trainer sees it: packed sequences in, log-probs of chosen tokens out.

Letters in tensor names: N packed tokens, M scored tokens, D hidden width, V vocabulary.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdar.errors import ConfigError
from sdar.model.attention import VARLEN, Segments
from sdar.model.last_layer import narrow_last_layer
from sdar.model.logprobs import TokenScores, Top, chunk_tokens, chunked_logp
from sdar.model.prefixes import apart, joined, shared


@dataclass(frozen=True)
class Packed:
    """Segments of sequences laid end to end, without padding, and the tokens of them to score."""

    tokens: Tensor
    """(N,) int64 token ids."""
    positions: Tensor
    """(N,) int64 place of each token in its sequence, from 0."""
    seqlens: tuple[int, ...]
    """Length of each segment; the sum is N."""
    parents: tuple[int, ...]
    """The segment that each follows, -1 where a sequence begins; see `sdar.model.prefixes`."""
    select: Tensor
    """(M,) int64 index of the token whose hidden state predicts each target."""
    targets: Tensor
    """(M,) int64 the scored token ids."""
    needed: Tensor
    """(U,) int64 the indices in `select`, ascending, each once."""

    @classmethod
    def from_sequences(
        cls, sequences: Iterable[tuple[Sequence[int], Sequence[int]]], *, share: bool = False
    ) -> "Packed":
        """Pack (tokens, scored) pairs; `scored` holds the ascending offsets, from 1, to score.

        Scores come out in the order of the sequences, then of the offsets. Nothing after the last scored
        token is kept, nor that token itself, since nothing that is read depends on it; a sequence without
        scored tokens takes no room. A pack with nothing to score holds one token, so that a rank without data
        can take part in the collectives of a sharded forward and backward pass. With `share`, what sequences
        begin with alike is there once; scores differ by rounding.

        >>> pack = Packed.from_sequences([([5, 6, 7, 8], [1, 2]), ([9, 4], [1])])
        >>> pack.tokens.tolist(), pack.seqlens, pack.select.tolist(), pack.targets.tolist()
        ([5, 6, 9], (2, 1), [0, 1, 2], [6, 7, 4])
        """
        given = [(array("i", sequence), np.asarray(scored)) for sequence, scored in sequences if len(scored)]
        if any(scored[0] < 1 for _, scored in given):
            raise ValueError("the first token of a sequence has no prediction to score")
        kept = [sequence[: scored[-1]] for sequence, scored in given]
        tree, places = shared(kept) if share else apart(kept)
        if not kept:
            tree.add([0], 0, -1)
        select = [place[scored - 1] for place, (_, scored) in zip(places, given, strict=True)]
        targets = [np.asarray(sequence)[scored] for sequence, scored in given]
        chosen = joined(select)
        flat = (tree.tokens, tree.positions, chosen, joined(targets), np.unique(chosen))
        tokens_N, positions_N, *scored = (torch.tensor(values, dtype=torch.int64) for values in flat)
        return cls(tokens_N, positions_N, tuple(tree.lengths), tuple(tree.parents), *scored)

    @property
    def to_compute(self) -> Tensor | None:
        """The tokens whose final states are read, where they are not all tokens."""
        return self.needed if len(self.needed) < len(self.tokens) else None

    def to(self, device: torch.device) -> "Packed":
        """The same pack on `device`."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in _TENSORS}
        return replace(self, **moved)


_TENSORS = ("tokens", "positions", "select", "targets", "needed")


class Policy(nn.Module):
    """A causal LM that scores packed tokens.

    Every use of a parameter is inside `forward`, so the module can be the root of `fully_shard`. `model` is a
    transformers causal LM or a peft LoRA model around one. It is switched to the attention `sdar_varlen`, and
    its dropout is switched off, since a score must be a function of the weights; generate with another copy.
    Logits take the dtype of the parameters; log-softmax and everything after it is float32.
    """

    def __init__(self, model: nn.Module, source: Path | str = "") -> None:
        """`source` is the model whose files hold the weights that are not trained; empty: it is not known."""
        super().__init__()
        self.model, self.source = model, source
        base = causal_lm(model)
        _check_head(base)
        base.set_attn_implementation(VARLEN)
        narrow_last_layer(base.get_decoder())
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def forward(
        self,
        packed: Packed,
        *,
        temperature: float = 1.0,
        with_entropy: bool = False,
        top: Top | None = None,
    ) -> TokenScores:
        """Scores (M,) of `packed.targets`. The pack must be on the model's device."""
        base = causal_lm(self.model)
        device = packed.tokens.device
        hidden = base.get_decoder()(
            input_ids=packed.tokens.unsqueeze(0),
            position_ids=packed.positions.unsqueeze(0),
            segments=Segments.of(packed.seqlens, device, packed.parents, packed.to_compute),
            use_cache=False,
        ).last_hidden_state
        return chunked_logp(
            hidden[0].index_select(0, packed.select),
            base.get_output_embeddings(),
            packed.targets,
            temperature=temperature,
            with_entropy=with_entropy,
            top=top,
            chunk_size=chunk_tokens(base.config.get_text_config().vocab_size, device),
        )


def causal_lm(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside `model`, with any adapters left in place."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(inner, PreTrainedModel) or inner.get_output_embeddings() is None:
        raise ConfigError(f"{type(inner).__name__} is not a transformers causal language model")
    return inner


def fsdp_units(policy: Policy) -> list[nn.Module]:
    """The decoder layers, in order: what to shard one by one before the policy itself."""
    return list(causal_lm(policy.model).get_decoder().layers)


def _check_head(base: PreTrainedModel) -> None:
    """Refuse models that rescale their logits after the output layer: `forward` would not see it."""
    config = base.config.get_text_config()
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise ConfigError(f"{type(base).__name__} rescales its logits ({name}), which is not supported")
