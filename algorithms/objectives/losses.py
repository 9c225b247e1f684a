"""What an objective is given and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.window import LearnBatch


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """Clipping below and above a ratio of 1 (DAPO's clip-higher) and the weight of the KL to the reference."""

    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coef: float = 0.0


# The loss of a micro-batch, already a share of the step's mean, and statistics summed over its completion tokens.
Objective = Callable[
    [Float[Tensor, "N T"], LearnBatch, ObjectiveSettings], tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]
]
