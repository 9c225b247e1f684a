"""REINFORCE++: no critic, no group; normalised over the whole batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages.shared import STD_EPS, batch_moments, estimator
from groundrl.algorithms.window import Window


@estimator(beyond_group=True, kl_in_reward=True, scale_free=True)
def reinforce_pp(window: Window) -> Float[Tensor, "N T"]:
    """`A_t = (R_t - mean(batch)) / (std(batch) + eps)` with the return `R_t = r - sum of the penalties from t on`.

    Mean and standard deviation (with Bessel's correction) are over the completion tokens of the whole step, all ranks
    together; a batch whose returns are all equal has advantage exactly 0. There is no baseline of the group: where
    every answer of a group is good, each is still reinforced. Without `kl_in_reward` there are no penalties.

    Source: REINFORCE++ (arXiv 2501.03262), equations 8 to 10.
    """
    mask = window.completion_mask_NT
    to_go = window.token_rewards_NT.double().flip(1).cumsum(dim=1).flip(1)
    mean, std = batch_moments(to_go[mask.bool()], window)
    if std == 0.0:
        return torch.zeros_like(mask)
    return ((to_go - mean) / (std + STD_EPS)).float() * mask
