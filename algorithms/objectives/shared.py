"""What the objectives share: how one is declared, log-ratios, and the terms around the policy's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.schema import ObjectiveSettings

Stats = dict[str, Float[Tensor, ""]]


# The loss of a micro-batch, already a share of the step's mean, and statistics summed over its completion tokens.
Loss = Callable[[Float[Tensor, "N T"], LearnBatch, ObjectiveSettings], tuple[Float[Tensor, ""], Stats]]
Check = Callable[[ObjectiveSettings], None]


def no_check(settings: ObjectiveSettings) -> None:
    """The check of an objective that can do whatever the settings say."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """`objective(logprobs_NT, batch, settings) -> (loss, stats)`, with what it refuses.

    `check` raises a ValueError for settings that this objective has no use for, before anything is trained.
    """

    function: Loss
    check: Check = no_check

    def __call__(
        self, logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
    ) -> tuple[Float[Tensor, ""], Stats]:
        """The micro-batch's share of the step's loss, and statistics summed over its completion tokens."""
        return self.function(logprobs_NT, batch, settings)


def objective(*, check: Check = no_check) -> Callable[[Loss], Objective]:
    """Declare a function to be an objective; see `Objective`."""
    return lambda function: Objective(function=function, check=check)


# Estimates of KL(policy || reference) from one sampled token, with `d = log policy - log reference` of it. Source:
# J. Schulman, "Approximating KL divergence" (2020).


def k1(logprobs_NT: Float[Tensor, "N T"], ref_logprobs_NT: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """`d` for each token: unbiased, of either sign."""
    return logprobs_NT - ref_logprobs_NT


def k2(logprobs_NT: Float[Tensor, "N T"], ref_logprobs_NT: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """`d^2 / 2` for each token: never negative."""
    return (logprobs_NT - ref_logprobs_NT).square() / 2


def k3(logprobs_NT: Float[Tensor, "N T"], ref_logprobs_NT: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """`exp(-d) - 1 + d` for each token: unbiased and never negative; GRPO's penalty (arXiv 2402.03300, eq. 4)."""
    difference = ref_logprobs_NT - logprobs_NT
    return difference.expm1() - difference  # `exp - 1` would round a small KL to 0


# In expectation the gradient of k2 is that of the KL, that of k3 nearly so, and that of k1 is 0: it is no loss and
# belongs into the reward (arXiv 2506.09477).
KL_LOSSES = {"k2": k2, "k3": k3}


@torch.no_grad()
def importance_weights(
    old_logprobs_NT: Float[Tensor, "N T"],
    sampler_logprobs_NT: Float[Tensor, "N T"],
    mask_NT: Float[Tensor, "N T"],
    settings: ObjectiveSettings,
) -> Float[Tensor, "N T"]:
    """`w = exp(old - sampler)` for each token; constants, no gradient passes through them.

    A sampler in another precision, engine, or with top-p does not draw from the policy that is trained. `token`: each
    token by its own ratio; `sequence`: all by the product over the completion. `truncate`: w above `importance_cap`
    becomes the cap; `mask`: such tokens or sequences are left out (w = 0).

    Source: truncated importance sampling, Yao et al., "Your efficient RL framework secretly brings you off-policy RL
    training" (2025); masking: arXiv 2510.18855; conventions as TRL's `vllm_importance_sampling_mode`.
    """
    level, how = settings.importance_correction.split("_")
    log_weights = (old_logprobs_NT - sampler_logprobs_NT) * mask_NT
    if level == "sequence":
        log_weights = log_weights.sum(dim=1, keepdim=True).expand_as(mask_NT)
    weights = log_weights.exp()
    cap = settings.importance_cap
    return weights.clamp(max=cap) if how == "truncate" else weights.where(weights <= cap, 0.0)


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
        estimate = KL_LOSSES.get(settings.kl_estimator or "k3", k3)  # k1 is in the reward, k3 its better statistic
        kl = estimate(logprobs_NT * mask, batch.ref_logprobs_NT * mask)
        stats["ref_kl"] = kl.detach()
        if settings.kl_in_loss:
            losses = losses + settings.kl_in_loss * kl
    return losses * mask, {name: (value * mask).sum() for name, value in stats.items()}


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
    gain = torch.minimum(unclipped, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages_NT)
    clipped = gain < unclipped
    if dual_clip is not None:
        floor = (dual_clip * advantages_NT).where(advantages_NT < 0, -torch.inf)
        clipped = clipped | (gain < floor)
        gain = torch.maximum(gain, floor)
    return -gain, clipped


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


def token_mean(losses_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, ""]:
    """The micro-batch's share of the mean over all tokens of the step: every token weighs the same."""
    return losses_NT.sum() / batch.total_tokens


def completion_mean(losses_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, ""]:
    """Its share of the mean over completions of the mean over their tokens: every completion weighs the same."""
    lengths = batch.completion_mask_NT.sum(dim=1).clamp(min=1)
    return (losses_NT.sum(dim=1) / lengths).sum() / batch.total_completions


def entropy_bonus(entropy_NT: Float[Tensor, "N T"], batch: LearnBatch) -> Float[Tensor, ""]:
    """The micro-batch's share of the mean entropy of the step's completion tokens, in nats.

    `entropy_coef` times it is taken from the loss, so that the policy keeps exploring. Every token weighs the same,
    whatever the objective. Source: A3C (arXiv 1602.01783), section 4.
    """
    return (entropy_NT * batch.completion_mask_NT).sum() / batch.total_tokens
