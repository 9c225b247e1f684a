"""CISPO's objective: the ratio is clipped as a weight, and every token keeps its gradient."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.objectives.shared import (
    Stats,
    log_ratios,
    objective,
    token_mean,
    whole_losses,
)
from groundrl.algorithms.schema import ObjectiveSettings


def check_bounds(settings: ObjectiveSettings) -> None:
    """ValueError for bounds that it does not have, and for a largest weight that is given as a distance from 1."""
    if settings.clip_low is not None or settings.dual_clip is not None:
        raise ValueError("cispo has no lower bound and no dual clip: leave clip_low and dual_clip out")
    if settings.clip_high is not None and settings.clip_high < 1.0:
        high = settings.clip_high
        raise ValueError(f"with cispo clip_high is the largest weight itself, at least 1, such as 5; got {high}")


@objective(check=check_bounds)
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
