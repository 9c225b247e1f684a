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
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from groundrl.rewards.boxes import Matches, match_boxes
from groundrl.rewards.glossary import Boxes, BoxSpace, Completion, Example, Score
from groundrl.rewards.reward import Reward, unreadable


@lru_cache(maxsize=1024)
def _converted(boxes: Boxes, space: BoxSpace) -> Boxes:
    """`boxes.to(space)`, once for all completions of an example (boxes are compared by identity)."""
    return boxes.to(space)


def in_range(boxes: Boxes) -> Float[np.ndarray, "N 4"]:
    """The coordinates, with every box that leaves its space made degenerate, so that it matches nothing."""
    xyxy = boxes.xyxy
    if len(xyxy) == 0:
        return xyxy
    width, height = boxes.space.width, boxes.space.height
    if xyxy.min() >= 0 and xyxy[:, ::2].max() <= width and xyxy[:, 1::2].max() <= height:
        return xyxy
    outside = np.asarray(((xyxy < 0) | (xyxy > [width, height, width, height])).any(axis=1))
    return np.where(outside[:, None], 0.0, xyxy)


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
    """A reward for a set of boxes against the reference's: one-to-one pairs, then a formula over them.

    `match_labels`: a pair must also agree on its label; a predicted box without one then matches nothing.
    """

    match_labels: bool = False

    @abstractmethod
    def value(self, predicted: Boxes, truth: Boxes) -> tuple[float, Matches]:
        """The value of predicted boxes, and the pairs behind it; both sides in one space, neither empty."""

    def score(self, completion: Completion, example: Example) -> Score:
        """The value of the completion's boxes; `detail["pairs"]` holds `(predicted, true, worth)` for each pair."""
        reference = example.reference.boxes
        if reference is None:
            return Score(value=None, status="abstain", detail={"reason": "the reference has no boxes"})
        lo, hi = self.range
        predicted = completion.boxes
        if predicted is None:
            return Score(value=lo, detail={"reason": unreadable(completion, example)})
        if not len(predicted) or not len(reference):
            return Score(value=hi if len(predicted) == len(reference) else lo, detail={"pairs": ()})
        space = completion.box_space
        value, found = self.value(predicted, reference if reference.space == space else _converted(reference, space))
        pairs = zip(found.rows.tolist(), found.columns.tolist(), found.values.tolist(), strict=True)
        return Score(value=value, detail={"pairs": tuple(pairs)})

    def pairs(self, predicted: Boxes, truth: Boxes, *, by: Literal["iou", "giou"] = "iou") -> Matches:
        """The Hungarian pairs of one image and, if asked, one label."""
        allowed = same_kind(predicted, truth, labels=self.match_labels)
        return match_boxes(in_range(predicted), truth.xyxy, by=by, allowed=allowed)


def total(values: Sequence[float] | np.ndarray) -> float:
    """An exactly rounded sum, so that no order of the boxes changes a score."""
    return math.fsum(values.tolist() if isinstance(values, np.ndarray) else values)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SoftF1(BoxReward):
    """Set agreement in [0, 1]: `2 sum IoU / (P + G)` over Hungarian pairs of P predicted and G true boxes.

    False boxes, misses and duplicates all cost; the order of the boxes does not matter.
    """

    name = "soft_f1"

    def value(self, predicted: Boxes, truth: Boxes) -> tuple[float, Matches]:
        """`2 sum IoU / (P + G)`."""
        found = self.pairs(predicted, truth)
        return 2.0 * total(found.values) / (len(predicted) + len(truth)), found


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GIoU(BoxReward):
    """Set agreement in [0, 1]: `sum (GIoU + 1)/2 / max(P, G)` over Hungarian pairs (GIoU: Rezatofighi et al., 2019).

    It still tells two misses apart where IoU is 0, and pays a little for a huge box: a shaping term.
    """

    name = "giou"

    def value(self, predicted: Boxes, truth: Boxes) -> tuple[float, Matches]:
        """`sum (GIoU + 1)/2 / max(P, G)`."""
        found = self.pairs(predicted, truth, by="giou")
        return total((found.values + 1.0) / 2.0) / max(len(predicted), len(truth)), found
