"""From scored groups to a window, with what the models say of it; and from the window to an update's micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.learn_batch import LearnBatch, StepTotals
from groundrl.algorithms.window import Gather, Window, alone, score_tensors
from groundrl.rewards import Group, Reward
from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.forward.planner import Planner
from groundrl.rollout.model.policy import Policy

Logprobs = Callable[[Batch], tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]]


@dataclass(frozen=True, kw_only=True)
class Collecting:
    """What a stage's windows are made with, the same for each of its steps.

    `values` gives log-probs and a critic's values in one pass. `kl_in_reward` is the weight of the k1 estimate of
    KL(policy || reference) in each token's reward. With `mask_truncated` completions that ran into the length limit are
    not learned from; their scores still count in the baseline of their group (DAPO's overlong filtering, arXiv
    2503.14476, section 3.4; as TRL).
    """

    reward: Reward
    logprobs: Logprobs
    reference: Logprobs | None
    keep_old: bool  # several epochs need the old log-probs
    planner: Planner
    values: Logprobs | None = None
    kl_in_reward: float = 0.0
    mask_truncated: bool = False
    gather: Gather = alone


def collect(groups: Sequence[Group], policy: Policy, collecting: Collecting) -> Window:
    """Pack scored groups; compute what an update needs of the old policy, the critic and the reference."""
    reward, planner = collecting.reward, collecting.planner
    rewards_PG, valid_PG, parts = score_tensors(groups, reward)
    completions = [completion for group in groups for completion in group.completions]
    shape = (len(completions), max(len(completion.token_ids) for completion in completions))
    mask, sampler_logprobs = torch.zeros(shape), torch.zeros(shape)
    for row, completion in enumerate(completions):
        if not (collecting.mask_truncated and completion.finish_reason == "length"):
            mask[row, : len(completion.sampled)] = torch.tensor(completion.sampled, dtype=torch.float32)
        sampler_logprobs[row, : len(completion.logprobs)] = torch.tensor(completion.logprobs)
    window = Window(
        groups=tuple(groups),
        prompts=tuple(policy.encode(group.example) for group in groups),
        rewards_PG=rewards_PG,
        valid_PG=valid_PG,
        completion_mask_NT=mask * valid_PG.flatten()[:, None],
        sampler_logprobs_NT=sampler_logprobs,
        parts=parts,
        weights=dict(reward.weights),
        gather=collecting.gather,
    )
    planner.settle(window.prompts, window.completions, collecting.gather)
    old = predicted = None
    if collecting.values is not None:
        old, predicted = _everywhere(window, planner, collecting.values)
    elif collecting.keep_old or collecting.kl_in_reward:
        old, _ = _everywhere(window, planner, collecting.logprobs)
    ref = _everywhere(window, planner, collecting.reference)[0] if collecting.reference is not None else None
    weight = collecting.kl_in_reward
    penalty = weight * (old - ref) if weight and old is not None and ref is not None else None
    return replace(window, old_logprobs_NT=old, ref_logprobs_NT=ref, values_NT=predicted, kl_penalty_NT=penalty)


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


@torch.no_grad()
def _everywhere(window: Window, planner: Planner, function: Logprobs) -> tuple[Tensor, Tensor]:
    """What a function gives for each token, `[N, T]` both, over the whole window."""
    results = torch.zeros_like(window.sampler_logprobs_NT), torch.zeros_like(window.sampler_logprobs_NT)
    for rows, inputs in planner.batches(window.prompts, window.completions):
        for result, found in zip(results, function(inputs), strict=True):
            result[rows, : found.shape[1]] = found.float().cpu()
    return results
