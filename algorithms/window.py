"""The window: the groups between two policy versions with everything that an update may need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundrl.rewards import Group
from groundrl.rollout.batches import PaddedBatch, pad_batch
from groundrl.rollout.policy import Policy
from groundrl.rollout.prompts import Prompt

Logprobs = Callable[[PaddedBatch], tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]]


@dataclass(frozen=True, kw_only=True)
class Window:
    """P groups of G completions, N = P*G rows in group order, T the longest completion.

    `rewards_PG` is nan exactly where `valid_PG` is false: the completion's score is missing through no fault of the
    model, or its group has fewer than two scores left and is dropped. Log-probs are those of the sampler, of the
    policy before the update (None: taken from the update's first pass), and of the reference. `values_NT`: a critic's.
    """

    groups: tuple[Group, ...]
    prompts: tuple[Prompt, ...]
    rewards_PG: Float[Tensor, "P G"]
    valid_PG: Bool[Tensor, "P G"]
    completion_mask_NT: Float[Tensor, "N T"]
    sampler_logprobs_NT: Float[Tensor, "N T"]
    old_logprobs_NT: Float[Tensor, "N T"] | None = None
    ref_logprobs_NT: Float[Tensor, "N T"] | None = None
    values_NT: Float[Tensor, "N T"] | None = None

    @property
    def group_size(self) -> int:
        """G, the completions of each prompt."""
        return self.rewards_PG.shape[1]

    def padded(self, policy: Policy, rows: Sequence[int]) -> PaddedBatch:
        """These rows as a batch for the model; its completions are as wide as the longest among them."""
        completions = [self.groups[row // self.group_size].completions[row % self.group_size] for row in rows]
        return pad_batch(
            policy,
            [self.prompts[row // self.group_size] for row in rows],
            [completion.token_ids for completion in completions],
            sampled=[completion.sampled for completion in completions],
        )


@dataclass(kw_only=True)
class LearnBatch:
    """One micro-batch of an update. Totals are of the whole step, over all micro-batches and ranks."""

    padded: PaddedBatch
    advantages_NT: Float[Tensor, "N T"]
    completion_mask_NT: Float[Tensor, "N T"]
    sampler_logprobs_NT: Float[Tensor, "N T"]
    old_logprobs_NT: Float[Tensor, "N T"] | None
    ref_logprobs_NT: Float[Tensor, "N T"] | None
    total_tokens: float
    total_completions: float


def collect(
    groups: Sequence[Group],
    policy: Policy,
    *,
    logprobs: Logprobs,
    reference: Logprobs | None,
    keep_old: bool,
    micro_batch_size: int,
) -> Window:
    """Pack scored groups; compute the old log-probs where several epochs need them, and the reference's.

    Groups come as their sampling ends; they are put in prompt order, so that nothing numeric depends on that.
    """
    groups = sorted(groups, key=lambda group: group.index)
    rewards = torch.tensor(
        [[_value(score.value) for score in group.scores or ()] for group in groups], dtype=torch.float32
    )
    valid = ~rewards.isnan()
    valid &= valid.sum(dim=1, keepdim=True) >= 2
    completions = [completion for group in groups for completion in group.completions]
    shape = (len(completions), max(len(completion.token_ids) for completion in completions))
    mask, sampler_logprobs = torch.zeros(shape), torch.zeros(shape)
    for row, completion in enumerate(completions):
        mask[row, : len(completion.sampled)] = torch.tensor(completion.sampled, dtype=torch.float32)
        sampler_logprobs[row, : len(completion.logprobs)] = torch.tensor(completion.logprobs)
    window = Window(
        groups=tuple(groups),
        prompts=tuple(policy.encode(group.example) for group in groups),
        rewards_PG=rewards.where(valid, torch.nan),
        valid_PG=valid,
        completion_mask_NT=mask * valid.flatten()[:, None],
        sampler_logprobs_NT=sampler_logprobs,
    )
    old = _all_logprobs(window, policy, logprobs, micro_batch_size) if keep_old else None
    ref = _all_logprobs(window, policy, reference, micro_batch_size) if reference is not None else None
    return Window(**{**vars(window), "old_logprobs_NT": old, "ref_logprobs_NT": ref})


def epochs(
    window: Window,
    advantages_NT: Float[Tensor, "N T"],
    policy: Policy,
    *,
    count: int,
    micro_batch_size: int,
    total_tokens: float,
    total_completions: float,
) -> Iterator[list[LearnBatch]]:
    """`count` passes over the window, each one optimiser step of micro-batches of similar length."""
    batches = []
    for rows in _by_length(window, micro_batch_size):
        padded = window.padded(policy, rows)
        width = padded.completion_ids.shape[1]

        def part(full: Tensor, rows: list[int] = rows, width: int = width) -> Tensor:
            return full[rows, :width].to(policy.device)

        batches.append(
            LearnBatch(
                padded=padded,
                advantages_NT=part(advantages_NT),
                completion_mask_NT=part(window.completion_mask_NT),
                sampler_logprobs_NT=part(window.sampler_logprobs_NT),
                old_logprobs_NT=part(window.old_logprobs_NT) if window.old_logprobs_NT is not None else None,
                ref_logprobs_NT=part(window.ref_logprobs_NT) if window.ref_logprobs_NT is not None else None,
                total_tokens=total_tokens,
                total_completions=total_completions,
            )
        )
    for _ in range(count):
        yield batches


@torch.no_grad()
def _all_logprobs(window: Window, policy: Policy, logprobs: Logprobs, micro_batch_size: int) -> Float[Tensor, "N T"]:
    result = torch.zeros_like(window.sampler_logprobs_NT)
    for rows in _by_length(window, micro_batch_size):
        padded = window.padded(policy, rows)
        values, _ = logprobs(padded)
        result[rows, : values.shape[1]] = values.float().cpu()
    return result


def _by_length(window: Window, micro_batch_size: int) -> Iterator[list[int]]:
    """Rows in micro-batches sorted by length, so that little is padding; the number of batches depends on N alone."""
    lengths = [len(completion.token_ids) for group in window.groups for completion in group.completions]
    rows = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    for start in range(0, len(rows), micro_batch_size):
        yield rows[start : start + micro_batch_size]


def _value(value: float | None) -> float:
    return torch.nan if value is None else value
