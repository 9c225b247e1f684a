"""What an update reads: the window in micro-batches, as often as there are epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.window import Window
from groundrl.rollout.forward.batches import Batch
from groundrl.rollout.forward.planner import Planner


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


def epochs(
    window: Window,
    advantages_NT: Float[Tensor, "N T"],
    totals: StepTotals,
    *,
    count: int,
    planner: Planner,
) -> Iterator[list[LearnBatch]]:
    """`count` passes over the window, each one optimiser step of the planner's micro-batches."""
    batches = []
    returns_NT = advantages_NT + window.values_NT if window.values_NT is not None else None
    for rows, inputs in planner.batches(window.prompts, window.completions):
        width = inputs.completion_ids.shape[1]

        def part(full: Tensor, rows: list[int] = rows, width: int = width) -> Tensor:
            return full[rows, :width].to(planner.policy.device)

        batches.append(
            LearnBatch(
                inputs=inputs,
                advantages_NT=part(advantages_NT),
                completion_mask_NT=part(window.completion_mask_NT),
                sampler_logprobs_NT=part(window.sampler_logprobs_NT),
                old_logprobs_NT=part(window.old_logprobs_NT) if window.old_logprobs_NT is not None else None,
                ref_logprobs_NT=part(window.ref_logprobs_NT) if window.ref_logprobs_NT is not None else None,
                total_tokens=totals.tokens,
                total_completions=totals.completions,
                max_length=totals.max_length,
                old_values_NT=part(window.values_NT) if window.values_NT is not None else None,
                returns_NT=part(returns_NT) if returns_NT is not None else None,
            )
        )
    for _ in range(count):
        yield batches
