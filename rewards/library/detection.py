"""More rewards for boxes: F-beta, matched IoU, hits over a threshold, confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.geometry import iou_matrix, match
from groundrl.rewards.boxes.spaces import Boxes
from groundrl.rewards.core.glossary import Score
from groundrl.rewards.core.reward import Reward, keep_name
from groundrl.rewards.core.schedules import Schedule, value_at
from groundrl.rewards.library.grounding import BoxReward, PairReward, same_kind


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FBetaIoU(PairReward):
    """Set agreement in [0, 1]: `(1 + beta^2) S / (P + beta^2 G)`, S the sum of the pairs' IoU above `threshold`.

    `beta` above 1 weighs misses more than false boxes; `beta=1, threshold=0` is `SoftF1`.
    """

    name = "f_beta_iou"
    beta: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not self.beta > 0 or not math.isfinite(self.beta):
            raise ValueError(f"beta must be above 0, got {self.beta}")
        _check_threshold(self.threshold)

    def worth(self, predicted: Float[np.ndarray, "*#B P 4"], true: Float[np.ndarray, "*#B G 4"]) -> np.ndarray:
        """IoU where it is above the threshold."""
        iou = iou_matrix(predicted, true)
        return np.where(iou > self.threshold, iou, 0.0)

    def formula(self, worth: list[float], predicted: int, true: int) -> float:
        """`(1 + beta^2) S / (P + beta^2 G)`."""
        square = self.beta**2
        return min((1.0 + square) * math.fsum(worth) / (predicted + square * true), 1.0)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MatchedIoU(PairReward):
    """`sum IoU^power / max(P, G)` over pairs with IoU above `threshold`, in [0, 1]."""

    name = "matched_iou"
    power: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.power <= 10:
            raise ValueError(f"power must be above 0 and at most 10, got {self.power}")
        _check_threshold(self.threshold)

    def worth(self, predicted: Float[np.ndarray, "*#B P 4"], true: Float[np.ndarray, "*#B G 4"]) -> np.ndarray:
        """`IoU^power` where IoU is above the threshold."""
        iou = iou_matrix(predicted, true)
        return np.where(iou > self.threshold, iou**self.power, 0.0)

    def formula(self, worth: list[float], predicted: int, true: int) -> float:
        """`sum worth / max(P, G)`."""
        return math.fsum(worth) / max(predicted, true)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ThresholdIoU(PairReward):
    """`hits / max(P, G)` in [0, 1]: as many one-to-one pairs with IoU above `threshold` as can be made.

    The threshold may be a schedule, `linear(0.3, 0.8, 500)`; without `.at(step)` it is that of step 0.
    """

    name = "threshold_iou"
    threshold: float | Schedule = 0.5

    def __post_init__(self) -> None:
        ends = self.threshold
        for end in (ends.start, ends.end) if isinstance(ends, Schedule) else (ends,):
            _check_threshold(end)

    def at(self, step: int) -> Reward:
        """The same with the threshold of this step."""
        return keep_name(self, replace(self, threshold=value_at(self.threshold, step)))

    def worth(self, predicted: Float[np.ndarray, "*#B P 4"], true: Float[np.ndarray, "*#B G 4"]) -> np.ndarray:
        """1 where IoU is above the threshold."""
        return (iou_matrix(predicted, true) > value_at(self.threshold, 0)).astype(np.float64)

    def formula(self, worth: list[float], predicted: int, true: int) -> float:
        """`hits / max(P, G)`."""
        return math.fsum(worth) / max(predicted, true)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Confidence(BoxReward):
    """Whether stated confidences c are right, in [0, 1]: the mean of c for a matched box, 1 - c for another.

    Matched is one-to-one with IoU above `threshold`. Boxes without a confidence, or with one outside [0, 1], score 0.
    """

    name = "confidence"
    threshold: float = 0.5

    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """The mean over predicted boxes."""
        scores = predicted.scores
        if scores is None or not all(0.0 <= score <= 1.0 for score in scores):
            return Score(value=0.0, detail={"reason": "no confidence in [0, 1] for every box"})
        hits = (worth > self.threshold).astype(np.float64)
        found = match(hits, allowed=same_kind(predicted, true, labels=self.match_labels))
        matched = set(found.rows[found.values > 0].tolist())
        right = [score if row in matched else 1.0 - score for row, score in enumerate(scores)]
        return Score(value=math.fsum(right) / len(right), detail={"matched": tuple(sorted(matched))})


def _check_threshold(threshold: float) -> None:
    if not 0.0 <= threshold < 1.0:
        raise ValueError(f"an IoU threshold lies in [0, 1), got {threshold}")
