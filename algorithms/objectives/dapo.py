"""DAPO's objective: every token of the step weighs the same, and the upper bound is the wider one."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.objectives.shared import Stats, clipped_losses, objective, token_mean
from groundrl.algorithms.schema import ObjectiveSettings


@objective()
def dapo(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, ""], Stats]:
    """`L = sum over all tokens of the step of l_t / number of those tokens` with `l_t` the clipped surrogate.

    Its bounds are 0.2 below and 0.28 above: clip-higher lets unlikely tokens grow. The rest of DAPO is the setting
    `dynamic_sampling` and the reward `Overlong`. Source: DAPO (arXiv 2503.14476), equations 8 and 10.
    """
    losses, stats = clipped_losses(logprobs_NT, batch, settings, low=0.2, high=0.28)
    return token_mean(losses, batch), stats
