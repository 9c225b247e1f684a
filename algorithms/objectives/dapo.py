"""DAPO's objective: every token of the step weighs the same."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.objectives.clipped import clipped_surrogate, k3
from groundrl.algorithms.objectives.losses import ObjectiveSettings
from groundrl.algorithms.window import LearnBatch


def token_losses(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, "N T"], dict[str, Float[Tensor, ""]]]:
    """The clipped surrogate plus `kl_coef` times k3 for each token, 0 outside the mask; statistics summed over it."""
    mask = batch.completion_mask_NT
    logprobs_NT = logprobs_NT * mask  # what padding holds is finite, but the exponential of a difference may not be
    old = batch.old_logprobs_NT * mask if batch.old_logprobs_NT is not None else logprobs_NT.detach()
    losses, stats = clipped_surrogate(
        logprobs_NT, old, batch.advantages_NT, clip_low=settings.clip_low, clip_high=settings.clip_high
    )
    if batch.ref_logprobs_NT is not None:
        kl = k3(logprobs_NT, batch.ref_logprobs_NT * mask)
        losses = losses + settings.kl_coef * kl
        stats["ref_kl"] = kl.detach()
    return losses * mask, {name: (value * mask).sum() for name, value in stats.items()}


def dapo(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """`sum over all tokens of the step / number of tokens of the step` (arXiv 2503.14476, eq. 8): token-level."""
    losses, stats = token_losses(logprobs_NT, batch, settings)
    return losses.sum() / batch.total_tokens, stats
