"""Log-probabilities of chosen tokens, computed in chunks so that the logits of a batch never exist at once.

Letters in tensor names: M scored tokens, D hidden width, V vocabulary.
"""

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
    entropy: Tensor | None
    """(M,) entropy of that distribution in nats, or None where it was not asked for."""


def selective_logp(
    logits: Tensor, targets: Tensor, *, temperature: float = 1.0, with_entropy: bool = False
) -> TokenScores:
    """Scores of `targets` (M,) under `logits` (M, V): log softmax(logits / temperature) at the target.

    Logits of any floating type are raised to float32 first.
    """
    logits = logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    if not with_entropy:
        return TokenScores(-F.cross_entropy(logits, targets, reduction="none"), None)
    logps = logits.log_softmax(-1)
    logp = logps.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return TokenScores(logp, -(logps.exp() * logps).sum(-1))


def chunked_logp(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    targets: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
    chunk_size: int,
) -> TokenScores:
    """Scores of `targets` (M,) under `head(hidden)`, `chunk_size` tokens at a time.

    `head` maps (m, D) to (m, V): a linear layer, with or without bias or adapter. Each chunk is a checkpoint,
    so the backward pass computes its logits again, and at most `chunk_size` rows of logits are alive at any
    time.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")

    def score(rows: Tensor, ids: Tensor) -> TokenScores:
        return selective_logp(head(rows), ids, temperature=temperature, with_entropy=with_entropy)

    chunks = []
    for rows, ids in zip(hidden.split(chunk_size), targets.split(chunk_size), strict=True):
        if torch.is_grad_enabled():
            chunks.append(checkpoint(score, rows, ids, use_reentrant=False, preserve_rng_state=False))
        else:
            chunks.append(score(rows, ids))
    logp = torch.cat([chunk.logp for chunk in chunks])
    return TokenScores(logp, torch.cat([chunk.entropy for chunk in chunks]) if with_entropy else None)


def chunk_tokens(vocab_size: int, device: torch.device) -> int:
    """How many tokens to score at once: as many as keep one buffer of logits small.

    8 MiB on a CPU, where larger ones leave the cache (measured); 512 MiB elsewhere, where each chunk adds a
    full gradient of the head's weight and so wants to be long.
    """
    elements = 2**21 if device.type == "cpu" else 2**27
    return max(32, elements // vocab_size)
