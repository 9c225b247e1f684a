"""Group-relative advantages."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages.shared import estimator, on_tokens, per_group, standardised
from groundrl.algorithms.window import Window


@estimator(scale_free=True)
def grpo(window: Window) -> Float[Tensor, "N T"]:
    """`A = (r - mean(group)) / (std(group) + eps)`, the same for every token of a completion.

    Mean and standard deviation (with Bessel's correction) are over the valid completions of the group. A group of
    one, an all-equal group and an invalid completion have advantage exactly 0.

    Source: DeepSeekMath (arXiv 2402.03300), section 4.1.2.
    """
    return on_tokens(per_group(window.rewards_PG, window.valid_PG, standardised), window)
