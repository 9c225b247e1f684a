"""The entropy bonus."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.window import LearnBatch


def entropy_bonus(entropy_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, ""]:
    """The micro-batch's share of the mean entropy of the step's completion tokens, in nats.

    `entropy_coef` times it is taken from the loss, so that the policy keeps exploring. Every token weighs the same,
    whatever the objective. Source: A3C (arXiv 1602.01783), section 4.
    """
    return (entropy_NT * batch.completion_mask_NT).sum() / batch.total_tokens
