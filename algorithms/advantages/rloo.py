"""REINFORCE with a leave-one-out baseline."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages.shared import estimator, on_tokens, per_group
from groundrl.algorithms.window import Window


@estimator(kl_in_reward=True)
def rloo(window: Window) -> Float[Tensor, "N T"]:
    """`A_i = r_i - mean of the other r_j of the group`, the same for every token of a completion.

    The others are the valid ones. With `kl_in_reward` each `r` is first lowered by the sum of its tokens' penalties.
    A group of one, an all-equal group and an invalid completion have advantage exactly 0.

    Source: Back to Basics (arXiv 2402.14740), the RLOO estimator with the penalised reward R(x, y).
    """
    rewards_PG = window.rewards_PG
    if window.kl_penalty_NT is not None:
        penalties = (window.kl_penalty_NT * window.completion_mask_NT).sum(dim=1)
        rewards_PG = rewards_PG - penalties.reshape(rewards_PG.shape)

    def leave_one_out(rewards: Float[Tensor, "*P k"]) -> Float[Tensor, "*P k"]:
        others: Tensor = (rewards.sum(dim=-1, keepdim=True) - rewards) / (rewards.shape[-1] - 1)
        return rewards - others

    return on_tokens(per_group(rewards_PG, window.valid_PG, leave_one_out), window)
