"""What an objective is given: one micro-batch of an update, and by what its loss is divided."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from groundrl.rollout.forward.batch import Batch


@dataclass(kw_only=True)
class LearnBatch:
    """One micro-batch of an update. Totals are of the whole step, over all micro-batches and ranks."""

    inputs: Batch
    advantages_NT: Float[Tensor, "N T"]
    completion_mask_NT: Float[Tensor, "N T"]
    sampler_logprobs_NT: Float[Tensor, "N T"]
    old_logprobs_NT: Float[Tensor, "N T"] | None
    ref_logprobs_NT: Float[Tensor, "N T"] | None
    total_tokens: float
    total_completions: float
    max_length: int  # tokens that a completion may have
    old_values_NT: Float[Tensor, "N T"] | None = None  # the critic's before the update, and what it is to learn
    returns_NT: Float[Tensor, "N T"] | None = None


@dataclass(frozen=True, kw_only=True)
class StepTotals:
    """By what a step's loss is divided: what is learned from, over all micro-batches and ranks, at least 1 of each."""

    tokens: float
    completions: float
    max_length: int  # tokens that a completion may have
