"""PPO's objective for the policy; the loss of the values is the critic's."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.objectives.shared import Stats, clipped_losses, objective, token_mean
from groundrl.algorithms.schema import ObjectiveSettings


@objective()
def ppo(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, ""], Stats]:
    """`L = -mean over all tokens of the step of min(r A, clip(r, 1 - low, 1 + high) A)`, each token with its own A.

    The bounds are 0.2. Source: PPO (arXiv 1707.06347), equation 7.
    """
    losses, stats = clipped_losses(logprobs_NT, batch, settings, low=0.2, high=0.2)
    return token_mean(losses, batch), stats
