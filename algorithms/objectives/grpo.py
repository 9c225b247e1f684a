"""GRPO's objective: every completion weighs the same, whatever its length."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.objectives.dapo import token_losses
from groundrl.algorithms.objectives.losses import ObjectiveSettings
from groundrl.algorithms.window import LearnBatch


def grpo(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The mean over completions of the mean over their tokens (DeepSeekMath, arXiv 2402.03300, eq. 3)."""
    losses, stats = token_losses(logprobs_NT, batch, settings)
    lengths = batch.completion_mask_NT.sum(dim=1).clamp(min=1)
    return (losses.sum(dim=1) / lengths).sum() / batch.total_completions, stats
