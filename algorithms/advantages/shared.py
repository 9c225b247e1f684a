"""What the estimators share: how one is declared, one rule for each group, and statistics of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundrl.algorithms.window import Window

STD_EPS = 1e-4  # as TRL


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """An advantage estimator, `estimator(window) -> advantages_NT`, with what it needs and what it can do.

    `beyond_group`: it also learns from a group without variance, and its advantages may differ from token to token.
    `kl_in_reward`: it takes the KL penalty of each token into account. `needs_critic`: it reads `window.values_NT`, and
    is given the critic's `discount` and `decay`. `scale_free`: a reward times a positive number gives the same
    advantages, but for the eps beside the standard deviation.
    """

    function: Callable[..., Float[Tensor, "N T"]]
    beyond_group: bool = False
    kl_in_reward: bool = False
    needs_critic: bool = False
    scale_free: bool = False

    def __call__(self, window: Window, **options: float) -> Float[Tensor, "N T"]:
        """The advantages of a window, 0 outside its mask."""
        return self.function(window, **options)


def estimator(
    *, beyond_group: bool = False, kl_in_reward: bool = False, needs_critic: bool = False, scale_free: bool = False
) -> Callable[[Callable[..., Float[Tensor, "N T"]]], Estimator]:
    """Declare a function of a window to be an estimator; see `Estimator`."""
    return lambda function: Estimator(
        function=function,
        beyond_group=beyond_group,
        kl_in_reward=kl_in_reward,
        needs_critic=needs_critic,
        scale_free=scale_free,
    )


def standardised(rewards: Float[Tensor, "*P k"]) -> Float[Tensor, "*P k"]:
    """`(r - mean) / (std + eps)` of each group, the standard deviation with Bessel's correction."""
    centred = rewards - rewards.mean(dim=-1, keepdim=True)
    return centred / (rewards.std(dim=-1, keepdim=True) + STD_EPS)


def per_group(
    rewards_PG: Float[Tensor, "P G"],
    valid_PG: Bool[Tensor, "P G"],
    rule: Callable[[Float[Tensor, "*P k"]], Float[Tensor, "*P k"]],
) -> Float[Tensor, "P G"]:
    """`rule` of the valid rewards of each group, in float64; groups without a gap are given to it in one piece.

    Exactly 0 for an invalid completion and for a group of fewer than two valid rewards; for an all-equal one as well,
    for float64 adds float32 rewards up without rounding, so that they do not differ from their mean.
    """
    result = torch.zeros_like(rewards_PG, dtype=torch.float64)
    whole = valid_PG.all(dim=1) & (valid_PG.shape[1] >= 2)
    if whole.any():  # of no group there is nothing to say, and torch warns of a standard deviation without numbers
        result[whole] = rule(rewards_PG[whole].double())
    for group in (~whole & (valid_PG.sum(dim=1) >= 2)).nonzero().flatten().tolist():
        valid = valid_PG[group]
        result[group, valid] = rule(rewards_PG[group, valid].double())
    return result


def on_tokens(advantages_PG: Float[Tensor, "P G"], window: Window) -> Float[Tensor, "N T"]:
    """The same advantage on every token of a completion, 0 on padding."""
    return advantages_PG.float().flatten()[:, None] * window.completion_mask_NT


def batch_moments(values: Float[Tensor, "k"], window: Window) -> tuple[float, float]:
    """`(mean, std)` of the values of all ranks, with Bessel's correction; std is exactly 0 where all are equal.

    Each rank's count, mean and squared deviations are combined by the pairwise formula of Chan, Golub and LeVeque
    (1979), so that the result does not depend on how the rows are spread over ranks but for rounding in float64.
    """
    values = values.double()
    if len(values):
        mean = values.mean()
        own = [torch.tensor(float(len(values))), mean, ((values - mean) ** 2).sum(), values.min(), values.max()]
    else:
        own = [torch.tensor(value) for value in (0.0, 0.0, 0.0, torch.inf, -torch.inf)]
    counts, means, squares, low, high = window.gather(torch.stack([part.double().cpu() for part in own])).unbind(dim=1)
    total = counts.sum()
    if total == 0:
        return 0.0, 0.0
    if low.min() == high.max():
        return float(low.min()), 0.0
    mean = (counts * means).sum() / total
    spread = squares.sum() + (counts * (means - mean) ** 2).sum()
    return float(mean), float((spread / (total - 1)).sqrt())
