"""Boxes: by set, and by the first box alone. Boxes that cannot be read, or that leave the image, match nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from groundrl.experiments.metrics.metric import Metric, mean_of
from groundrl.rewards import Boxes, Completion, Example, SoftF1, iou_matrix
from groundrl.rewards.boxes.geometry import match
from groundrl.rewards.library.grounding import in_range, same_kind

BOXES = ("boxes",)
SIZES = {"small": 0.01, "medium": 0.1, "large": 1.0}  # the largest share of the image's area


def box_ious(predicted: Boxes, truth: Boxes) -> Float[np.ndarray, "P G"]:
    """IoU of each predicted with each true box, as every metric of boxes takes it and as `SoftF1` does.

    0 where the two are of two images, and for a predicted box that is inverted or leaves its image.
    """
    iou = iou_matrix(in_range(predicted.xyxy, predicted.space), truth.to(predicted.space).xyxy)
    allowed = same_kind(predicted, truth, labels=False)
    return iou if allowed is None or not iou.size else np.where(allowed, iou, 0.0)


def set_iou(predicted: Boxes | None, truth: Boxes) -> float:
    """Hungarian, sum of IoU over max(predicted, true); both empty is 1, boxes that cannot be read are 0."""
    if predicted is None:
        return 0.0
    if len(predicted) == 0 and len(truth) == 0:
        return 1.0
    return float(np.sum(match(box_ious(predicted, truth)).values)) / max(len(predicted), len(truth))


def pair_ious(completion: Completion, example: Example) -> Float[np.ndarray, "P G"] | None:
    """`box_ious` of an answer, without rows where its boxes cannot be read; None without a reference."""
    truth = example.reference.boxes
    if truth is None:
        return None
    return np.zeros((0, len(truth))) if completion.boxes is None else box_ious(completion.boxes, truth)


def true_box_ious(completion: Completion, example: Example) -> Float[np.ndarray, " G"] | None:
    """The IoU of each true box in the Hungarian pairing, 0 for one that is missed."""
    iou = pair_ious(completion, example)
    if iou is None:
        return None
    pairs = match(iou)
    found = np.zeros(iou.shape[1])
    found[pairs.columns] = pairs.values
    return found


def sizes(truth: Boxes) -> list[str]:
    """The size of each true box, by its share of the image's area: up to 1 %, up to 10 %, above."""
    side = np.maximum(truth.xyxy[:, 2:] - truth.xyxy[:, :2], 0.0)
    shares = side.prod(axis=1) / (truth.space.width * truth.space.height)
    names, limits = list(SIZES), list(SIZES.values())
    return [names[min(int(np.searchsorted(limits, share)), len(names) - 1)] for share in shares]


def _of_true_boxes(completion: Completion, example: Example) -> float | None:
    found = true_box_ious(completion, example)
    return None if found is None or not len(found) else float(found.mean())


def _soft_f1(completion: Completion, example: Example) -> float | None:
    return SoftF1().score(completion, example).value


def _f1_50(completion: Completion, example: Example) -> float | None:
    iou = pair_ious(completion, example)
    if iou is None or completion.boxes is None:
        return None if iou is None else 0.0
    if not sum(iou.shape):
        return 1.0
    return 2.0 * float(match((iou >= 0.5).astype(np.float64)).values.sum()) / sum(iou.shape)


def _first(completion: Completion, example: Example) -> float | None:
    iou = pair_ious(completion, example)
    if iou is None or not iou.shape[1]:
        return None
    return float(iou[0, 0]) if len(iou) else 0.0


def _first_hits(threshold: float) -> Metric:
    def hit(completion: Completion, example: Example) -> float | None:
        iou = _first(completion, example)
        return None if iou is None else float(iou >= threshold)

    what = f"share of examples whose first box has IoU of at least {threshold} with the first true one"
    return mean_of(hit, what, reads=BOXES)


GROUNDING = {
    "iou_of_true_boxes": mean_of(
        _of_true_boxes,
        "IoU of each true box in the Hungarian pairing, a miss 0, averaged over the boxes of an example, then over "
        "examples that have boxes; false boxes cost nothing (iou_mean: they do)",
        reads=BOXES,
    ),
    "soft_f1": mean_of(
        _soft_f1,
        "2 sum IoU / (P + G) over Hungarian pairs of P predicted and G true boxes; none and none is 1",
        reads=BOXES,
    ),
    "f1_50": mean_of(
        _f1_50,
        "2 hits / (P + G), as many one-to-one pairs of IoU of at least 0.5 as can be made; none and none is 1",
        reads=BOXES,
    ),
    "acc_30": _first_hits(0.3),
    "acc_50": _first_hits(0.5),
    "acc_70": _first_hits(0.7),
    "ave_iou": mean_of(_first, "IoU of the first box with the first true box (MedSG-Bench), unreadable 0", reads=BOXES),
}
