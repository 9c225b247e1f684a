"""The clipped surrogate of PPO, which most of the family shares."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundrl.algorithms.objectives.losses import ObjectiveSettings
from groundrl.algorithms.objectives.terms import Stats, log_ratios, sequence_mean, whole_losses
from groundrl.algorithms.window import LearnBatch


def clipped_surrogate(
    log_ratio_NT: Float[Tensor, "N T"],
    advantages_NT: Float[Tensor, "N T"],
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> tuple[Float[Tensor, "N T"], Bool[Tensor, "N T"]]:
    """`-min(ratio A, clip(ratio, 1 - low, 1 + high) A)` for each token, and whether it was clipped.

    With `dual_clip` c the objective of a negative advantage is at least `c A`, so that a token that the policy has
    made much more likely does not dominate the step. A clipped token gets no gradient. Source: PPO (arXiv 1707.06347,
    eq. 7); separate bounds: DAPO (arXiv 2503.14476, eq. 10); dual clip: arXiv 1912.09729.
    """
    ratio = log_ratio_NT.exp()
    unclipped = ratio * advantages_NT
    objective = torch.minimum(unclipped, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages_NT)
    clipped = objective < unclipped
    if dual_clip is not None:
        floor = (dual_clip * advantages_NT).where(advantages_NT < 0, -torch.inf)
        clipped = clipped | (objective < floor)
        objective = torch.maximum(objective, floor)
    return -objective, clipped


def clipped_losses(
    logprobs_NT: Float[Tensor, "N T"],
    batch: LearnBatch,
    settings: ObjectiveSettings,
    *,
    low: float,
    high: float,
    by_sequence: bool = False,
) -> tuple[Float[Tensor, "N T"], Stats]:
    """The whole loss of each token with the clipped surrogate; `low` and `high` where the settings have no bounds.

    `by_sequence`: the ratio of every token is the geometric mean of its completion's ratios.
    """
    clip_low, clip_high = settings.bounds(low, high)
    log_ratio = log_ratios(logprobs_NT, batch)
    losses, clipped = clipped_surrogate(
        sequence_mean(log_ratio, batch) if by_sequence else log_ratio,
        batch.advantages_NT,
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=settings.dual_clip,
    )
    return whole_losses(losses, clipped, logprobs_NT, batch, settings)
