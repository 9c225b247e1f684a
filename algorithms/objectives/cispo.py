"""CISPO's objective: the ratio is clipped as a weight, and every token keeps its gradient."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.objectives.losses import ObjectiveSettings
from groundrl.algorithms.objectives.terms import Stats, log_ratios, token_mean, whole_losses
from groundrl.algorithms.window import LearnBatch


def cispo(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, ""], Stats]:
    """`L = -mean over all tokens of the step of sg(min(r, clip_high)) A log policy`, `sg` without gradient.

    `clip_high` is the largest weight itself, as in TRL, not its distance from 1; 5 unless set (ScaleRL, arXiv
    2510.13786). There is no lower bound. `clip_frac` counts tokens whose weight is at that bound. Source: CISPO in
    MiniMax-M1 (arXiv 2506.13585), equations 4 and 5.
    """
    _, clip_high = settings.bounds(0.0, 5.0)
    with torch.no_grad():
        ratio = log_ratios(logprobs_NT, batch).exp()
    policy_losses = -ratio.clamp(max=clip_high) * batch.advantages_NT * logprobs_NT
    losses, stats = whole_losses(policy_losses, ratio > clip_high, logprobs_NT, batch, settings)
    return token_mean(losses, batch), stats
