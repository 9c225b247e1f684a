"""The window: the groups between two policy versions with everything that an update may need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundrl.rewards import Completion, Group, Reward
from groundrl.rollout.forward.batches import Batch
from groundrl.rollout.forward.planner import Planner
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt

Logprobs = Callable[[Batch], tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]]
Gather = Callable[[Float[Tensor, "k"]], Float[Tensor, "ranks k"]]  # each rank's vector, by rank


def alone(vector: Float[Tensor, "k"]) -> Float[Tensor, "1 k"]:
    """The `Gather` of a single process."""
    return vector[None]


@dataclass(frozen=True, kw_only=True)
class Window:
    """P groups of G completions, N = P*G rows in group order, T the longest completion.

    `rewards_PG` is nan exactly where `valid_PG` is false: the completion's score is missing through no fault of the
    model, or its group has fewer than two scores left and is dropped. Log-probs are those of the sampler, of the
    policy before the update (None: taken from the update's first pass), and of the reference. `values_NT`: a critic's.
    `parts` and `weights`: the reward's parts by name, nan where one abstains or the completion is invalid.
    `kl_penalty_NT`: what `kl_in_reward` takes from each token's reward. `gather` is for statistics of all ranks.
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
    kl_penalty_NT: Float[Tensor, "N T"] | None = None
    parts: Mapping[str, Float[Tensor, "P G"]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    gather: Gather = alone

    @property
    def token_rewards_NT(self) -> Float[Tensor, "N T"]:
        """The score at the last token of each completion, minus the KL penalty of each token; 0 outside the mask."""
        mask = self.completion_mask_NT
        last = (mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True)) * mask
        rewards = self.rewards_PG.nan_to_num(0.0).flatten()[:, None] * last
        return rewards if self.kl_penalty_NT is None else rewards - self.kl_penalty_NT * mask

    @property
    def group_size(self) -> int:
        """G, the completions of each prompt."""
        return self.rewards_PG.shape[1]

    @property
    def completions(self) -> list[tuple[Completion, ...]]:
        """Those of each group."""
        return [group.completions for group in self.groups]

    def batches(self, planner: Planner) -> Iterator[tuple[list[int], Batch]]:
        """Micro-batches for the model with the rows they hold."""
        return planner.batches(self.prompts, self.completions)


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


@dataclass(frozen=True, kw_only=True)
class StepTotals:
    """By what a step's loss is divided: what is learned from, over all micro-batches and ranks, at least 1 of each."""

    tokens: float
    completions: float
    max_length: int  # tokens that a completion may have


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


def score_tensors(
    groups: Sequence[Group], reward: Reward
) -> tuple[Float[Tensor, "P G"], Bool[Tensor, "P G"], dict[str, Float[Tensor, "P G"]]]:
    """The scores of groups as the window's `rewards_PG`, `valid_PG` and `parts`; a smaller group is filled up."""
    rewards = _values(groups, None)
    valid = ~rewards.isnan()
    valid &= valid.sum(dim=1, keepdim=True) >= 2
    whole = reward.weights == {reward.name: 1.0}  # no sum: its only part is its own value
    parts = {name: _values(groups, None if whole else name).where(valid, torch.nan) for name in reward.weights}
    return rewards.where(valid, torch.nan), valid, parts


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
    for rows, inputs in window.batches(planner):
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
    for rows, inputs in window.batches(planner):
        for result, found in zip(results, function(inputs), strict=True):
            result[rows, : found.shape[1]] = found.float().cpu()
    return results


def _values(groups: Sequence[Group], part: str | None) -> Float[Tensor, "P G"]:
    """The scores' own values, or those of the part of that name; nan where there is none."""
    found = [[score if part is None else score.parts.get(part) for score in group.scores or ()] for group in groups]
    values = [[torch.nan if s is None or s.value is None else s.value for s in row] for row in found]
    longest = max(map(len, values))
    return torch.tensor([row + [torch.nan] * (longest - len(row)) for row in values], dtype=torch.float32)
