"""Importance weights for tokens that were sampled by something other than the trainer's policy."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.objectives.losses import ObjectiveSettings


@torch.no_grad()
def importance_weights(
    old_logprobs_NT: Float[Tensor, "N T"],
    sampler_logprobs_NT: Float[Tensor, "N T"],
    mask_NT: Float[Tensor, "N T"],
    settings: ObjectiveSettings,
) -> Float[Tensor, "N T"]:
    """`w = exp(old - sampler)` for each token; constants, no gradient passes through them.

    A sampler in another precision, engine, or with top-p does not draw from the policy that is trained. `token`: each
    token by its own ratio; `sequence`: all by the product over the completion. `truncate`: w above `importance_cap`
    becomes the cap; `mask`: such tokens or sequences are left out (w = 0).

    Source: truncated importance sampling, Yao et al., "Your efficient RL framework secretly brings you off-policy RL
    training" (2025); masking: arXiv 2510.18855; conventions as TRL's `vllm_importance_sampling_mode`.
    """
    level, how = settings.importance_correction.split("_")
    log_weights = (old_logprobs_NT - sampler_logprobs_NT) * mask_NT
    if level == "sequence":
        log_weights = log_weights.sum(dim=1, keepdim=True).expand_as(mask_NT)
    weights = log_weights.exp()
    cap = settings.importance_cap
    return weights.clamp(max=cap) if how == "truncate" else weights.where(weights <= cap, 0.0)
