"""What an objective is given and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.window import LearnBatch

KLEstimator = Literal["k1", "k2", "k3"]
ImportanceCorrection = Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """The terms of the loss.

    `clip_low`, `clip_high`: how far below and above 1 a ratio may go (None: as in the objective's paper); `dual_clip`
    bounds the loss of a negative advantage at this multiple of it. `kl_coef` weighs the KL to the reference: as a
    loss, estimated by k2 or k3 (the default), or with `kl_in_reward` in each token's reward, there by k1.
    `entropy_coef` weighs the entropy bonus. `importance_correction` weighs tokens by trainer over sampler
    probability, at most `importance_cap`.
    """

    clip_low: float | None = None
    clip_high: float | None = None
    dual_clip: float | None = None
    kl_coef: float = 0.0
    kl_estimator: KLEstimator | None = None
    kl_in_reward: bool = False
    entropy_coef: float = 0.0
    importance_correction: ImportanceCorrection = "none"
    importance_cap: float = 2.0

    def __post_init__(self) -> None:
        if self.kl_estimator == "k1" and not self.kl_in_reward:
            raise ValueError(
                "kl_estimator k1 is no loss, its expected gradient is 0: set kl_in_reward: true, or choose k2 or k3"
            )
        if self.kl_in_reward and self.kl_estimator not in (None, "k1"):
            raise ValueError(f"kl_in_reward uses k1, got kl_estimator {self.kl_estimator}: leave it out")
        if self.clip_low is not None and not 0.0 <= self.clip_low < 1.0:
            raise ValueError(f"clip_low must be in 0..1, below 1, got {self.clip_low}")
        if self.dual_clip is not None and not self.dual_clip > 1.0:
            raise ValueError(f"dual_clip is a multiple of the advantage above 1, such as 3, got {self.dual_clip}")
        if not self.importance_cap >= 1.0:
            raise ValueError(
                f"importance_cap must be at least 1, the weight of equal policies, got {self.importance_cap}"
            )
        for name in ("clip_high", "kl_coef", "entropy_coef"):
            value = getattr(self, name)
            if value is not None and not value >= 0.0:
                raise ValueError(f"{name} must be at least 0, got {value}")

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """`(clip_low, clip_high)`, each that of the objective's paper, given here, where it is not set."""
        return (
            low if self.clip_low is None else self.clip_low,
            high if self.clip_high is None else self.clip_high,
        )

    @property
    def kl_in_loss(self) -> float:
        """The weight of the KL in the loss: 0 where it is in the reward."""
        return 0.0 if self.kl_in_reward else self.kl_coef


# The loss of a micro-batch, already a share of the step's mean, and statistics summed over its completion tokens.
Objective = Callable[
    [Float[Tensor, "N T"], LearnBatch, ObjectiveSettings], tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]
]
