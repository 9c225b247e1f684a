"""The window: the groups between two policy versions with everything that an update may need.

What fills it stands in `collect.py`: recorded scores have a window too, which needs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundrl.rewards import Completion, Group, Reward
from groundrl.rollout.model.prompts import Prompt

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


def compact(advantages: Float[Tensor, "G T"], mask: Float[Tensor, "G T"]) -> list[tuple[float, ...]]:
    """Each completion's advantages: one number where every token has the same, else one a token."""
    result = []
    for values, tokens in zip(advantages, mask.bool(), strict=True):
        kept = values[tokens].tolist() or [0.0]
        result.append((kept[0],) if all(value == kept[0] for value in kept) else tuple(kept))
    return result


def _values(groups: Sequence[Group], part: str | None) -> Float[Tensor, "P G"]:
    """The scores' own values, or those of the part of that name; nan where there is none."""
    found = [[score if part is None else score.parts.get(part) for score in group.scores or ()] for group in groups]
    values = [[torch.nan if s is None or s.value is None else s.value for s in row] for row in found]
    longest = max(map(len, values))
    return torch.tensor([row + [torch.nan] * (longest - len(row)) for row in values], dtype=torch.float32)
