"""COCO's mean average precision as a reward that does not depend on the order of the list."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.geometry import assign
from groundrl.rewards.boxes.spaces import Boxes
from groundrl.rewards.core.glossary import Score
from groundrl.rewards.library.grounding import BoxReward, same_kind


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MeanAP(BoxReward):
    """COCO's mean average precision in [0, 1]: IoU 0.50 to 0.95 by 0.05, precision read at 101 recalls.

    Two changes make it free of the order of the list and safe against enumeration: boxes of one score enter the curve
    together, with as many hits as can be matched; and with `match_labels` the mean is over true *and* predicted labels,
    so that a label outside the truth costs. Boxes without scores all have the same.
    """

    name = "mean_ap"
    thresholds: tuple[float, ...] = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))

    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """The mean over labels and thresholds of `average_precision`."""
        allowed = same_kind(predicted, true, labels=self.match_labels)
        iou = worth if allowed is None else np.where(allowed, worth, 0.0)
        scores = np.array(predicted.scores or (1.0,) * len(predicted))
        kinds = [("",) * len(predicted), ("",) * len(true)]
        if self.match_labels:
            kinds = [tuple(map(str.casefold, side.labels or ("",) * len(side))) for side in (predicted, true)]
        per_label: dict[str, float] = {}
        for label in sorted({*kinds[0], *kinds[1]}):
            rows, columns = ([k for k, kind in enumerate(side) if kind == label] for side in kinds)
            own = iou[np.ix_(rows, columns)]
            curves = [np.where(own >= threshold, own, 0.0) for threshold in self.thresholds]
            values = [average_precision(curve, scores[rows], most_hits) for curve in curves]
            per_label[label] = math.fsum(values) / len(values)
        return Score(value=math.fsum(per_label.values()) / len(per_label), detail={"per_label": per_label})


def average_precision(hits: np.ndarray, scores: np.ndarray, count: Callable[[np.ndarray], int]) -> float:
    """101-point interpolated average precision of boxes that enter the curve by falling score, equal ones together.

    `hits [P, G]` is the IoU of each pair, 0 where it is too small; `count` says how many of the boxes that have entered
    are true positives.
    """
    if not hits.shape[0] or not hits.shape[1]:
        return float(hits.shape[0] == hits.shape[1])
    curve = []
    for score in np.unique(scores)[::-1]:
        chosen = hits[scores >= score]
        found = count(chosen)
        curve.append((found / hits.shape[1], found / len(chosen)))
    reached = [max((precision for recall, precision in curve if recall >= k / 100), default=0.0) for k in range(101)]
    return math.fsum(reached) / 101


def most_hits(hits: np.ndarray) -> int:
    """The most one-to-one pairs that can be made."""
    made = (hits > 0).astype(np.float64)
    rows, columns = assign(made)
    return int(made[rows, columns].sum())
