"""The pieces that clipped objectives share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def clipped_surrogate(
    logprobs_NT: Float[Tensor, "N T"],
    old_logprobs_NT: Float[Tensor, "N T"],
    advantages_NT: Float[Tensor, "N T"],
    *,
    clip_low: float,
    clip_high: float,
) -> tuple[Float[Tensor, "N T"], dict[str, Float[Tensor, "N T"]]]:
    """`-min(ratio A, clip(ratio, 1 - low, 1 + high) A)` for each token, and the statistics for each token.

    `ratio = exp(logprobs - old_logprobs)`. Source: PPO (arXiv 1707.06347, eq. 7); separate bounds: DAPO (arXiv
    2503.14476, eq. 10). `clip_frac` marks tokens whose clipped term is the smaller one, so that they get no gradient.
    """
    log_ratio = logprobs_NT - old_logprobs_NT
    ratio = log_ratio.exp()
    unclipped = ratio * advantages_NT
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages_NT
    with torch.no_grad():
        stats = {"clip_frac": (clipped < unclipped).float(), "approx_kl": ratio - 1 - log_ratio}
    return -torch.minimum(unclipped, clipped), stats


def k3(logprobs_NT: Float[Tensor, "N T"], ref_logprobs_NT: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """The k3 estimate of KL(policy || reference) for each token: `exp(d) - 1 - d` with `d = ref - policy`, never < 0.

    Source: J. Schulman, "Approximating KL divergence" (2020); GRPO's penalty (arXiv 2402.03300, eq. 4).
    """
    difference = ref_logprobs_NT - logprobs_NT
    return difference.exp() - 1 - difference
