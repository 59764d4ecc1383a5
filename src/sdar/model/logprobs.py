"""Log-probabilities of chosen tokens, computed in chunks so that the logits of a batch never exist at once.

Letters in tensor names: M scored tokens, D hidden width, V vocabulary.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class TokenScores(NamedTuple):
    """Scores of M tokens, float32."""

    logp: Tensor
    """(M,) log-probability of each target in the tempered distribution, in nats."""
    entropy: Tensor | None = None
    """(M,) entropy of that distribution in nats, or None where it was not asked for."""
    top: Tensor | None = None
    """(M, K + 1) log-probabilities of K tokens and of all others together, or (M, V) of the vocabulary."""
    ids: Tensor | None = None
    """(M, K) int64 those tokens; None where `top` is the vocabulary."""


Top = int | Tensor
"""Which tokens to give log-probabilities of, beside the target: ids (M, K), or the K likeliest; 0 is all."""


def selective_logp(
    logits: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
    top: Top | None = None,
) -> TokenScores:
    """Scores of `targets` (M,) under `logits` (M, V): log softmax(logits / temperature) at the target.

    Logits of any floating type are raised to float32 first.
    """
    logits = logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    if not with_entropy and top is None:
        return TokenScores(-F.cross_entropy(logits, targets, reduction="none"))
    logps = logits.log_softmax(-1)
    logp = logps.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    entropy = -(logps.exp() * logps).sum(-1) if with_entropy else None
    return TokenScores(logp, entropy, *((None, None) if top is None else _select(logps, top)))


def _select(logps: Tensor, top: Top) -> tuple[Tensor, Tensor | None]:
    """`TokenScores.top` and `.ids` of whole distributions (M, V).

    The rest is summed up in the log domain, so that it stays exact where the chosen tokens hold nearly all of
    the mass and 1 minus their sum would be rounding error.
    """
    if isinstance(top, int):
        if not 0 < top < logps.shape[-1]:
            return logps, None
        top = logps.detach().topk(top).indices
    rest = logps.scatter(-1, top, -math.inf).logsumexp(-1, keepdim=True)
    return torch.cat([logps.gather(-1, top), rest], -1), top


def chunked_logp(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    targets: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
    top: Top | None = None,
    chunk_size: int,
) -> TokenScores:
    """Scores of `targets` (M,) under `head(hidden)`, `chunk_size` tokens at a time.

    `head` maps (m, D) to (m, V): a linear layer, with or without bias or adapter. Each chunk is a checkpoint,
    so the backward pass computes its logits again, and at most `chunk_size` rows of logits are alive at any
    time, beside what is asked for.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")

    def score(rows: Tensor, targets: Tensor, top: Top | None) -> TokenScores:
        return selective_logp(
            head(rows), targets, temperature=temperature, with_entropy=with_entropy, top=top
        )

    inputs = hidden.split(chunk_size), targets.split(chunk_size)
    tops = top.split(chunk_size) if isinstance(top, Tensor) else [top] * len(inputs[0])
    chunks = []
    for chunk in zip(*inputs, tops, strict=True):
        if torch.is_grad_enabled():
            chunks.append(checkpoint(score, *chunk, use_reentrant=False, preserve_rng_state=False))
        else:
            chunks.append(score(*chunk))
    whole = [None if parts[0] is None else torch.cat(parts) for parts in zip(*chunks, strict=True)]
    return TokenScores._make(whole)


def chunk_tokens(vocab_size: int, device: torch.device) -> int:
    """How many tokens to score at once: as many as keep one buffer of logits small.

    8 MiB on a CPU, where larger ones leave the cache (measured); 512 MiB elsewhere, where each chunk adds a
    full gradient of the head's weight and so wants to be long.
    """
    elements = 2**21 if device.type == "cpu" else 2**27
    return max(32, elements // vocab_size)
