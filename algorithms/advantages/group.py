"""What group-relative estimators share: one rule for each group, and its value on every token."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from groundrl.algorithms.window import Window

STD_EPS = 1e-4  # as TRL


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
    result[whole] = rule(rewards_PG[whole].double())
    for group in (~whole & (valid_PG.sum(dim=1) >= 2)).nonzero().flatten().tolist():
        valid = valid_PG[group]
        result[group, valid] = rule(rewards_PG[group, valid].double())
    return result


def on_tokens(advantages_PG: Float[Tensor, "P G"], window: Window) -> Float[Tensor, "N T"]:
    """The same advantage on every token of a completion, 0 on padding."""
    return advantages_PG.float().flatten()[:, None] * window.completion_mask_NT
