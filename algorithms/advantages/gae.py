"""Generalised advantage estimation over tokens, from a critic's values."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages.shared import estimator
from groundrl.algorithms.window import Window


@estimator(beyond_group=True, kl_in_reward=True, needs_critic=True)
def gae(window: Window, *, discount: float = 1.0, decay: float = 0.95) -> Float[Tensor, "N T"]:
    """`A_t = d_t + (discount decay) A_{t+1}` with `d_t = r_t + discount V_{t+1} - V_t`, and 0 after the last token.

    `r_t` is the score at a completion's last token and 0 before, minus the KL penalty of the token with
    `kl_in_reward`; `V_t`, of `window.values_NT`, is the critic's value before token t. A token that the policy did
    not sample is stepped over. Not normalised, so that `A + V` is the return the critic learns. ValueError where there
    are no values.

    Source: arXiv 1506.02438, equation 16; `decay` is its lambda.
    """
    if window.values_NT is None:
        raise ValueError("advantage gae needs a critic's values for each token, and this run has no critic")
    assert 0.0 <= min(discount, decay) <= max(discount, decay) <= 1.0, "both weigh what lies ahead, from 0 to 1"
    mask, values, rewards = (x.double() for x in (window.completion_mask_NT, window.values_NT, window.token_rewards_NT))
    advantages = torch.zeros_like(values)
    ahead, next_value = torch.zeros_like(values[:, 0]), torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        here = mask[:, t].bool()
        delta = rewards[:, t] + discount * next_value - values[:, t]
        ahead = torch.where(here, delta + discount * decay * ahead, ahead)
        next_value = torch.where(here, values[:, t], next_value)
        advantages[:, t] = ahead
    return advantages.float() * window.completion_mask_NT
