"""GDPO: every part of the reward is normalised on its own before they are added."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages.shared import STD_EPS, batch_moments, estimator, on_tokens, per_group, standardised
from groundrl.algorithms.window import Window


@estimator(scale_free=True)
def gdpo(window: Window) -> Float[Tensor, "N T"]:
    """`A = S / (std(batch of S) + eps)` with `S = sum over parts k of w_k (r_k - mean(group)) / (std(group) + eps)`.

    So answers that differ in their parts but not in their total are told apart, and no part drowns another by its
    scale: `w_k`, the part's weight in the total, weighs normalised values. A part that abstains is left out of its
    own mean and of the sum. The paper also takes the batch's mean from S; each part has mean 0 in each group, so that
    mean is 0 and taking its rounding away would only disturb the exact zeros. A group of one, a group that is
    all-equal in each part, and an invalid completion have advantage exactly 0. A reward that is no sum has one part.

    Source: GDPO (arXiv 2601.05242), equations 4 to 6.
    """
    total_PG = torch.zeros_like(window.rewards_PG, dtype=torch.float64)
    for name, rewards_PG in window.parts.items():
        known = window.valid_PG & ~rewards_PG.isnan()
        total_PG += window.weights[name] * per_group(rewards_PG, known, standardised)
    _, std = batch_moments(total_PG[window.valid_PG], window)
    return on_tokens(total_PG / (std + STD_EPS), window)
