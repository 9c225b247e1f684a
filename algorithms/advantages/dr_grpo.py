"""Group-relative advantages without the standard deviation."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages.shared import estimator, on_tokens, per_group
from groundrl.algorithms.window import Window


@estimator()
def dr_grpo(window: Window) -> Float[Tensor, "N T"]:
    """`A = r - mean(group)`, the same for every token of a completion.

    Dividing by the standard deviation favours questions that are nearly always or nearly never solved; this does not.
    The mean is over the valid completions. A group of one, an all-equal group and an invalid completion have 0.

    Source: Understanding R1-Zero-Like Training (arXiv 2503.20783), section 3.2. Its other half is the objective
    `dr_grpo`.
    """

    def centred(rewards: Float[Tensor, "*P k"]) -> Float[Tensor, "*P k"]:
        return rewards - rewards.mean(dim=-1, keepdim=True)

    return on_tokens(per_group(window.rewards_PG, window.valid_PG, centred), window)
