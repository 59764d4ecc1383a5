"""Drawing tokens from logits with given random numbers."""

import numpy as np
import torch
from torch import Tensor

_BELOW_ONE = 1 - 2**-32


def uniforms(seed: int, count: int) -> np.ndarray:
    """`count` numbers in [0, 1) that depend on `seed` alone; a longer draw begins with the shorter one.

    >>> bool((uniforms(7, 3) == uniforms(7, 5)[:3]).all())
    True
    """
    return np.random.Generator(np.random.Philox(key=seed)).random(count) * _BELOW_ONE


def draw(logits_NV: Tensor, uniform_N: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """One token for each row and its log-probability: (N,) int64 and (N,) float32.

    Inverse CDF over the vocabulary in float64, so a row's token depends on its logits and its number only.
    Temperature 0 takes the likeliest token and reports its log-probability at temperature 1.
    """
    logits_NV = logits_NV.float()
    if temperature > 0:
        logp_NV = torch.log_softmax(logits_NV / temperature, -1)
        cdf_NV = logp_NV.exp().double().cumsum(-1)
        token_N1 = torch.searchsorted(cdf_NV, uniform_N[:, None].double() * cdf_NV[:, -1:], right=True)
        # Logits of a destroyed policy, not numbers, end past the last token: the trainer says so by its NaN.
        token_N1 = token_N1.clamp(max=logits_NV.shape[-1] - 1)
    else:
        logp_NV = torch.log_softmax(logits_NV, -1)
        token_N1 = logp_NV.argmax(-1, keepdim=True)
    return token_N1[:, 0], logp_NV.gather(-1, token_N1)[:, 0]
