"""GRPO's objective: every completion weighs the same, whatever its length."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.objectives.shared import Stats, clipped_losses, completion_mean, objective
from groundrl.algorithms.schema import ObjectiveSettings


@objective()
def grpo(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, ""], Stats]:
    """`L = mean over completions of (mean over their tokens of l_t)` with `l_t` the clipped surrogate, bounds 0.2.

    Source: DeepSeekMath (arXiv 2402.03300), equation 3.
    """
    losses, stats = clipped_losses(logprobs_NT, batch, settings, low=0.2, high=0.2)
    return completion_mean(losses, batch), stats
