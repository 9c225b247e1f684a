"""GSPO's objective: one ratio for a whole completion."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.objectives.shared import Stats, clipped_losses, completion_mean, objective
from groundrl.algorithms.schema import ObjectiveSettings


@objective()
def gspo(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, ""], Stats]:
    """`L = -mean over completions of min(s A, clip(s, 1 - low, 1 + high) A)`, `s = exp(mean of the log-ratios)`.

    `s`, the geometric mean of the tokens' ratios, varies far less than they do, so the bounds are 3e-4 and 4e-4; a
    completion is clipped as a whole. `clip_frac` counts its tokens. Source: GSPO (arXiv 2507.18071), equations 5 to 7
    and section 5.1.
    """
    losses, stats = clipped_losses(logprobs_NT, batch, settings, low=3e-4, high=4e-4, by_sequence=True)
    return completion_mean(losses, batch), stats
