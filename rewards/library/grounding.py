"""Rewards for boxes. Both sides empty is 1, one side empty is 0, a degenerate or out-of-range box is a false box.

The truth is converted from its own declared space to the one in which the completion is written. An answer whose boxes
cannot be read scores the low end, with the reason in `detail`; an example without reference boxes is left out.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from groundrl.rewards.boxes.geometry import giou_matrix, iou_matrix, match, own_best, pad_boxes
from groundrl.rewards.boxes.spaces import Boxes, BoxSpace
from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward, unreadable


@lru_cache(maxsize=1024)
def _converted(boxes: Boxes, space: BoxSpace) -> Boxes:
    """`boxes.to(space)`, once for all completions of an example (boxes are compared by identity)."""
    return boxes.to(space)


def in_range(xyxy: Float[np.ndarray, "*B N 4"], space: BoxSpace) -> Float[np.ndarray, "*B N 4"]:
    """The coordinates, with every box that leaves its space made degenerate, so that it matches nothing."""
    if not xyxy.size or (xyxy.min() >= 0 and xyxy.max() <= min(space.width, space.height)):
        return xyxy
    outside = np.asarray(((xyxy < 0) | (xyxy > [space.width, space.height] * 2)).any(axis=-1))
    return np.where(outside[..., None], 0.0, xyxy)


def same_kind(predicted: Boxes, truth: Boxes, *, labels: bool) -> Bool[np.ndarray, "P G"] | None:
    """Which pairs are of one image and, if asked, of one label; None where all are."""
    allowed: Bool[np.ndarray, "P G"] | None = None
    if predicted.image is not None or truth.image is not None:
        images = [side.image or (0,) * len(side) for side in (predicted, truth)]
        allowed = np.array([[image == own for own in images[1]] for image in images[0]])
    if labels:
        names = [[label.casefold() for label in side.labels or ("",) * len(side)] for side in (predicted, truth)]
        same = np.array([[name == own and name != "" for own in names[1]] for name in names[0]])
        allowed = same if allowed is None else allowed & same
    return allowed


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BoxReward(Reward):
    """A reward for a set of boxes against the reference's.

    `match_labels`: a pair must also agree on its label; a predicted box without one then matches nothing.
    """

    match_labels: bool = False

    @abstractmethod
    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """The score of boxes against the truth, neither empty, in one space, from what each pair is worth."""

    def worth(self, predicted: Float[np.ndarray, "*#B P 4"], true: Float[np.ndarray, "*#B G 4"]) -> np.ndarray:
        """What each pair would be worth, `[*B, P, G]`."""
        return iou_matrix(predicted, true)

    def score(self, completion: Completion, example: Example) -> Score:
        """The value of the completion's boxes."""
        return self.score_group((completion,), example)[0]

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """The values of all completions, their pairwise worth computed in one batch."""
        truth = example.reference.boxes
        if truth is None:
            absent = Score(value=None, status="abstain", detail={"reason": "the reference has no boxes"})
            return [absent] * len(completions)
        sets = [completion.boxes for completion in completions]
        space = completions[0].box_space
        true = truth if truth.space == space else _converted(truth, space)
        found = [boxes.xyxy for boxes in sets if boxes is not None]
        worth = iter(self.worth(in_range(pad_boxes(found), space), true.xyxy[None]) if found else ())
        lo = self.range[0]
        return [
            Score(value=lo, detail={"reason": unreadable(completion, example)})
            if boxes is None
            else self._against(boxes, true, next(worth)[: len(boxes)])
            for completion, boxes in zip(completions, sets, strict=True)
        ]

    @property
    def groupwise(self) -> bool:
        """The group is a batch only; no score depends on another completion."""
        return False

    def _against(self, predicted: Boxes, true: Boxes, worth: np.ndarray) -> Score:
        if len(predicted) and len(true):
            return self.judged(predicted, true, worth)
        lo, hi = self.range
        return Score(value=hi if len(predicted) == len(true) else lo, detail={"pairs": ()})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PairReward(BoxReward):
    """A box reward that makes the one-to-one pairs worth most, then takes a formula over them."""

    @abstractmethod
    def formula(self, worth: list[float], predicted: int, true: int) -> float:
        """The value from the worth of each pair and the numbers of boxes, neither of them 0."""

    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """The formula's value; `detail["pairs"]` holds `(predicted, true, worth)` for each pair."""
        allowed = same_kind(predicted, true, labels=self.match_labels)
        pairs = own_best(worth.tolist()) if allowed is None and len(predicted) <= len(true) else None
        if pairs is None:
            found = match(worth, allowed=allowed)
            pairs = list(zip(found.rows.tolist(), found.columns.tolist(), found.values.tolist(), strict=True))
        value = self.formula([own for _, _, own in pairs], len(predicted), len(true))
        return Score(value=value, detail={"pairs": tuple(pairs)})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SoftF1(PairReward):
    """Set agreement in [0, 1]: `2 sum IoU / (P + G)` over Hungarian pairs of P predicted and G true boxes.

    False boxes, misses and duplicates all cost; the order of the boxes does not matter.
    """

    name = "soft_f1"

    def formula(self, worth: list[float], predicted: int, true: int) -> float:
        """`2 sum IoU / (P + G)`; the sum is exactly rounded, so that no order of the boxes changes it."""
        return 2.0 * math.fsum(worth) / (predicted + true)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GIoU(PairReward):
    """Set agreement in [0, 1]: `sum (GIoU + 1)/2 / max(P, G)` over Hungarian pairs (GIoU: Rezatofighi et al., 2019).

    It still tells two misses apart where IoU is 0, and pays a little for a huge box: a shaping term.
    """

    name = "giou"

    def worth(self, predicted: Float[np.ndarray, "*#B P 4"], true: Float[np.ndarray, "*#B G 4"]) -> np.ndarray:
        """GIoU of each pair, moved to [0, 1]."""
        return (giou_matrix(predicted, true) + 1.0) / 2.0

    def formula(self, worth: list[float], predicted: int, true: int) -> float:
        """`sum (GIoU + 1)/2 / max(P, G)`."""
        return math.fsum(worth) / max(predicted, true)
