"""The policy as the trainer sees it: packed sequences in, log-probs of chosen tokens out.

Letters in tensor names: N packed tokens, M scored tokens, D hidden width, V vocabulary.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdar.errors import ConfigError
from sdar.model.attention import VARLEN, Segments
from sdar.model.logprobs import TokenScores, Top, chunk_tokens, chunked_logp


@dataclass(frozen=True)
class Packed:
    """Sequences laid end to end, without padding, and the tokens of them to score."""

    tokens: Tensor
    """(N,) int64 token ids."""
    positions: Tensor
    """(N,) int64 place of each token in its sequence, from 0."""
    seqlens: tuple[int, ...]
    """Length of each sequence; the sum is N."""
    select: Tensor
    """(M,) int64 index of the token whose hidden state predicts each target."""
    targets: Tensor
    """(M,) int64 the scored token ids."""

    @classmethod
    def from_sequences(cls, sequences: Iterable[tuple[Sequence[int], Sequence[int]]]) -> "Packed":
        """Pack (tokens, scored) pairs; `scored` holds the ascending offsets, from 1, to score.

        Scores come out in the order of the sequences, then of the offsets. Nothing after the last scored
        token is kept, nor that token itself, since nothing that is read depends on it; a sequence without
        scored tokens takes no room. A pack with nothing to score holds one token, so that a rank without data
        can take part in the collectives of a sharded forward and backward pass.

        >>> pack = Packed.from_sequences([([5, 6, 7, 8], [1, 2]), ([9, 4], [1])])
        >>> pack.tokens.tolist(), pack.seqlens, pack.select.tolist(), pack.targets.tolist()
        ([5, 6, 9], (2, 1), [0, 1, 2], [6, 7, 4])
        """
        tokens: list[int] = []
        positions: list[int] = []
        lengths: list[int] = []
        select: list[int] = []
        targets: list[int] = []
        for sequence, scored in sequences:
            if not scored:
                continue
            if scored[0] < 1:
                raise ValueError("the first token of a sequence has no prediction to score")
            start, length = len(tokens), scored[-1]
            select.extend(start + offset - 1 for offset in scored)
            targets.extend(sequence[offset] for offset in scored)
            tokens.extend(sequence[:length])
            positions.extend(range(length))
            lengths.append(length)
        if not lengths:
            tokens, positions, lengths = [0], [0], [1]
        flat = (torch.tensor(values, dtype=torch.int64) for values in (tokens, positions, select, targets))
        tokens_N, positions_N, select_M, targets_M = flat
        return cls(tokens_N, positions_N, tuple(lengths), select_M, targets_M)

    def to(self, device: torch.device) -> "Packed":
        """The same pack on `device`."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in _TENSORS}
        return replace(self, **moved)


_TENSORS = ("tokens", "positions", "select", "targets")


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
            segments=Segments.of(packed.seqlens, device),
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
