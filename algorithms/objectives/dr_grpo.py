"""Dr. GRPO's objective: no normalisation by a length that the policy can choose."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.objectives.shared import Stats, clipped_losses, objective
from groundrl.algorithms.schema import ObjectiveSettings


@objective()
def dr_grpo(
    logprobs_NT: Float[Tensor, "N T"], batch: LearnBatch, settings: ObjectiveSettings
) -> tuple[Float[Tensor, ""], Stats]:
    """`L = sum over all tokens of l_t / (completions of the step * maximal length)`, `l_t` the clipped surrogate.

    The maximal length is `max_new_tokens`, a constant, so that a long wrong answer is not punished less for each of
    its tokens. The bounds are 0.2. Source: Understanding R1-Zero-Like Training (arXiv 2503.20783), section 3.2, with
    the constant as in TRL. Its other half is the estimator `dr_grpo`.
    """
    losses, stats = clipped_losses(logprobs_NT, batch, settings, low=0.2, high=0.2)
    return losses.sum() / (batch.total_completions * batch.max_length), stats
