"""What a run measures by itself: boxes as sets, the label, the form and the length of an answer."""

from __future__ import annotations

import numpy as np

from groundrl.experiments.metrics.grounding import BOXES, set_iou
from groundrl.experiments.metrics.metric import mean_of
from groundrl.rewards import Completion, Example, Format, LabelAccuracy


def _iou(completion: Completion, example: Example) -> float | None:
    truth = example.reference.boxes
    return None if truth is None else set_iou(completion.boxes, truth)


def _iou_positive(completion: Completion, example: Example) -> float | None:
    truth = example.reference.boxes
    return None if truth is None or not len(truth) else set_iou(completion.boxes, truth)


def _label(completion: Completion, example: Example) -> float | None:
    return None if example.reference.label is None else LabelAccuracy().score(completion, example).value


def _format(completion: Completion, example: Example) -> float | None:
    return Format().score(completion, example).value


def _length(completion: Completion, example: Example) -> float | None:
    return float(len(completion.token_ids))


_IOU = "sum of IoU over Hungarian pairs / max(predicted, true boxes); a missed and a false box cost alike"
TRAINING = {
    "iou_mean": mean_of(_iou, f"{_IOU}; none and none is 1", reads=BOXES),
    "iou_best_of_n": mean_of(_iou, f"iou_mean of an example's best sample: {_IOU}", samples=np.max, reads=BOXES),
    "iou_positive": mean_of(_iou_positive, f"{_IOU}; over examples that have boxes", reads=BOXES),
    "label_accuracy": mean_of(
        _label, "the answer's text without its boxes is the reference's label, but for case and space", reads=("label",)
    ),
    "format_rate": mean_of(_format, "the answer has the form that the reward Format asks for"),
    "completion_length": mean_of(_length, "tokens of the answer, its end included", range=(0.0, np.inf)),
}
