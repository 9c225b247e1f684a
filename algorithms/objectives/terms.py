"""What all objectives share: log-ratios at the completion's tokens, and the terms around the policy's own."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundrl.algorithms.objectives.importance import importance_weights
from groundrl.algorithms.objectives.kl import LOSSES, k3
from groundrl.algorithms.objectives.losses import ObjectiveSettings
from groundrl.algorithms.window import LearnBatch

Stats = dict[str, Float[Tensor, ""]]


def old_logprobs(logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, "N T"]:
    """Those of the policy before the update, 0 outside the mask; where none were kept it has not moved yet."""
    old = batch.old_logprobs_NT if batch.old_logprobs_NT is not None else logprobs_NT.detach()
    return old * batch.completion_mask_NT


def log_ratios(logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, "N T"]:
    """`log policy - log old policy` of each token, 0 outside the mask.

    What padding holds is finite, but the exponential of a difference may not be: so it is masked before.
    """
    return logprobs_NT * batch.completion_mask_NT - old_logprobs(logprobs_NT, batch)


def sequence_mean(values_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, "N T"]:
    """On each token the mean over its completion's tokens."""
    mask = batch.completion_mask_NT
    means = (values_NT * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    return means.expand_as(mask)


def whole_losses(
    policy_losses_NT: Float[Tensor, "N T"],
    clipped_NT: Bool[Tensor, "N T"],
    logprobs_NT: Float[Tensor, "N T"],
    batch: LearnBatch,
    settings: ObjectiveSettings,
) -> tuple[Float[Tensor, "N T"], Stats]:
    """Importance weights times the policy's loss, plus `kl_coef` times the KL to the reference, for each token.

    0 outside the mask. The statistics are summed over it: `clip_frac` of the tokens given as clipped, `approx_kl` to
    the old policy (k3), `ref_kl` to the reference, and `importance_weight` where they are corrected.
    """
    mask = batch.completion_mask_NT
    with torch.no_grad():
        log_ratio = log_ratios(logprobs_NT, batch)
        stats = {"clip_frac": clipped_NT.float(), "approx_kl": log_ratio.expm1() - log_ratio}
    losses = policy_losses_NT
    if settings.importance_correction != "none":
        weights = importance_weights(old_logprobs(logprobs_NT, batch), batch.sampler_logprobs_NT, mask, settings)
        stats["importance_weight"] = weights
        losses = losses * weights
    if batch.ref_logprobs_NT is not None:
        estimate = LOSSES.get(settings.kl_estimator or "k3", k3)  # k1 is in the reward, k3 its better statistic
        kl = estimate(logprobs_NT * mask, batch.ref_logprobs_NT * mask)
        stats["ref_kl"] = kl.detach()
        if settings.kl_in_loss:
            losses = losses + settings.kl_in_loss * kl
    return losses * mask, {name: (value * mask).sum() for name, value in stats.items()}


def token_mean(losses_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, ""]:
    """The micro-batch's share of the mean over all tokens of the step: every token weighs the same."""
    return losses_NT.sum() / batch.total_tokens


def completion_mean(losses_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, ""]:
    """Its share of the mean over completions of the mean over their tokens: every completion weighs the same."""
    lengths = batch.completion_mask_NT.sum(dim=1).clamp(min=1)
    return (losses_NT.sum(dim=1) / lengths).sum() / batch.total_completions
