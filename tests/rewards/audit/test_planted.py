"""Ten user rewards with one planted defect each: the audit names the policy or the check. Five sound ones pass."""

import re

import numpy as np
import pytest

from groundrl.rewards import LabelAccuracy, MatchedIoU, SoftF1, ThresholdIoU, audit, iou_matrix, match_boxes, reward


def pairs(completion, example):
    """The IoU of the matched pairs, and the numbers of predicted and true boxes; None where nothing can be read."""
    predicted, truth = completion.boxes, example.reference.boxes
    if predicted is None:
        return None
    return match_boxes(predicted.xyxy, truth.xyxy).values, len(predicted), len(truth)


def agreement(found):
    """Sum of IoU over the larger number of boxes."""
    ious, predicted, true = found
    return float(ious.sum()) / max(predicted, true) if max(predicted, true) else 1.0


@reward
def substring_label(completion, example):
    return float(example.reference.label in completion.text)


@reward
def first_box_only(completion, example):
    predicted, truth = completion.boxes, example.reference.boxes
    if predicted is None or bool(len(predicted)) != bool(len(truth)):
        return 0.0
    return float(iou_matrix(predicted.xyxy[:1], truth.xyxy).max(initial=0.0)) if len(truth) else 1.0


@reward
def false_boxes_are_free(completion, example):
    found = pairs(completion, example)
    if found is None:
        return 0.0
    return float(found[0].sum()) / found[2] if found[2] else float(found[1] == 0)


@reward
def raises_on_empty(completion, example):
    return agreement(pairs(completion, example)) if completion.text[0] != "" and completion.boxes is not None else 0.0


_rng = np.random.default_rng(0)


@reward
def partly_random(completion, example):
    found = pairs(completion, example)
    return 0.0 if found is None else 0.9 * agreement(found) + 0.1 * _rng.random()


@reward
def by_position(completion, example):
    predicted, truth = completion.boxes, example.reference.boxes
    if predicted is None:
        return 0.0
    shared = min(len(predicted), len(truth))
    ious = np.diag(iou_matrix(predicted.xyxy[:shared], truth.xyxy[:shared]))
    return agreement((ious, len(predicted), len(truth)))


@reward
def pays_length(completion, example):
    return min(len(completion.text) / 2000, 1.0)


@reward
def pays_format(completion, example):
    return float(completion.boxes is not None and bool(completion.label))


@reward
def constant(completion, example):
    return 0.7


@reward
def reads_thoughts(completion, example):
    found = re.findall(r"\[([0-9]+), ([0-9]+), ([0-9]+), ([0-9]+)\]", completion.text)
    boxes = np.array(found, dtype=float).reshape(-1, 4)
    truth = example.reference.boxes.xyxy
    if not len(boxes) and not len(truth):
        return float("nuclei" in completion.text)
    return agreement((match_boxes(boxes, truth).values, len(boxes), len(truth)))


@reward
def low_threshold(completion, example):
    found = pairs(completion, example)
    return 0.0 if found is None else agreement((np.minimum(found[0] * 10, 1.0).round(), *found[1:]))


@reward
def near_misses_pay(completion, example):
    """Rises again for a box that misses by half: as a sign error in a penalty would."""
    found = pairs(completion, example)
    if found is None:
        return 0.0
    ious, predicted, true = found
    return agreement((np.where(ious < 0.2, 0.5 * (ious > 0), ious), predicted, true))


PLANTED = [
    (substring_label, "every label"),
    (first_box_only, "gold plus ten false boxes"),
    (false_boxes_are_free, "every true box five times"),
    (raises_on_empty, "never raises"),
    (partly_random, "deterministic"),
    (by_position, "order of boxes does not matter"),
    (pays_length, "very long text"),
    (pays_format, "no boxes"),
    (constant, "gold is the maximum"),
    (reads_thoughts, "gold inside <think> only"),
    (low_threshold, "noise costs"),
    (near_misses_pay, "more noise never pays (one box)"),
]


@pytest.mark.parametrize(("defective", "name"), PLANTED, ids=lambda value: getattr(value, "name", None))
def test_a_planted_defect_is_named(defective, name, few):
    report = audit(defective, few)
    assert not report.passed
    assert name in {own.name for own in (*report.flagged, *report.failed)}
    assert name in report.verdict
    assert name in str(report)


@pytest.mark.parametrize(
    ("defective", "name"), PLANTED[3:6] + PLANTED[10:11], ids=lambda value: getattr(value, "name", None)
)
def test_a_check_that_fails_is_the_only_finding(defective, name, few):
    """These defects pay nobody; what fails is the property alone."""
    report = audit(defective, few)
    assert [own.name for own in report.flagged] == []
    assert [own.name for own in report.failed] == [name]


@reward
def greedy_overlap(completion, example):
    """A user's own: each true box takes the best predicted one left, over the larger number."""
    predicted, truth = completion.boxes, example.reference.boxes
    if predicted is None:
        return 0.0
    found = match_boxes(predicted.xyxy, truth.xyxy, method="greedy").values
    return agreement((found, len(predicted), len(truth)))


@reward(range=(-1, 1))
def signed(completion, example):
    """A range below 0, and a cost for false boxes without end but for the range."""
    found = pairs(completion, example)
    if found is None:
        return -0.2
    ious, predicted, true = found
    return (
        max(-1.0, agreement((ious, max(true, 1), true)) - 0.1 * max(predicted - true, 0))
        if true
        else -0.2 * (predicted > 0)
    )


SOUND = [
    SoftF1(),
    MatchedIoU(threshold=0.5),
    ThresholdIoU(),
    0.6 * SoftF1() + 0.4 * LabelAccuracy(),
    LabelAccuracy(),
    greedy_overlap,
    signed,
]


@pytest.mark.parametrize("sound", SOUND, ids=repr)
def test_a_sound_reward_passes(sound, few):
    report = audit(sound, few)
    assert report.passed, str(report)
    assert report.verdict == "passed: no policy reaches 0.5"
