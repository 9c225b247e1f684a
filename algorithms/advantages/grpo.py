"""Group-relative advantages."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.window import Window

STD_EPS = 1e-4  # as TRL


def grpo(window: Window) -> Float[Tensor, "N T"]:
    """`A = (r - mean(group)) / (std(group) + eps)`, the same for every token of a completion.

    Mean and standard deviation (with Bessel's correction) are over the valid completions of the group. A group of
    one, an all-equal group and an invalid completion have advantage exactly 0.

    Source: DeepSeekMath (arXiv 2402.03300), section 4.1.2.
    """
    advantages = torch.zeros_like(window.rewards_PG)
    for group, valid in enumerate(window.valid_PG):
        rewards = window.rewards_PG[group, valid].double()
        if len(rewards) >= 2 and (rewards != rewards[0]).any():
            advantages[group, valid] = ((rewards - rewards.mean()) / (rewards.std() + STD_EPS)).float()
    return advantages.flatten()[:, None] * window.completion_mask_NT
