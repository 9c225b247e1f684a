"""Box rewards by hand: formulas, labels, images, spaces, thresholds, precision."""

import numpy as np
import pytest

from groundrl.rewards import (
    Boxes,
    Completion,
    Confidence,
    Example,
    FBetaIoU,
    GIoU,
    MatchedIoU,
    MeanAP,
    Reference,
    SoftF1,
    ThresholdIoU,
    linear,
    pixel,
    rel1,
)


def boxed(*boxes):
    return f"<box>{[list(box) for box in boxes]}</box>"


def value(reward, text, example, **completion):
    return reward.score(Completion(text=text, box_space=example.box_space, **completion), example).value


HALF, FAR = [0, 0, 10, 5], [50, 50, 60, 60]  # IoU .5 with the true box, and 0


@pytest.fixture
def task(example):
    return example([[0, 0, 10, 10]])


def test_formulas_by_hand(task):
    # P = 2, G = 1, sum IoU = .5. GIoU of HALF: hull 100, union 100: .5 -> .75.
    text = boxed(HALF, FAR)
    assert value(SoftF1(), text, task) == pytest.approx(2 * 0.5 / 3)
    assert value(GIoU(), text, task) == pytest.approx(0.75 / 2)
    assert value(MatchedIoU(), text, task) == pytest.approx(0.25)
    assert value(MatchedIoU(power=2), text, task) == pytest.approx(0.125)
    assert value(MatchedIoU(threshold=0.5), text, task) == 0.0  # above the threshold, not at it
    assert value(FBetaIoU(beta=2), text, task) == pytest.approx(5 * 0.5 / (2 + 4))
    assert value(FBetaIoU(), text, task) == value(SoftF1(), text, task)
    assert value(FBetaIoU(threshold=0.5), text, task) == 0.0
    assert value(ThresholdIoU(threshold=0.49), text, task) == 0.5


def test_giou_pays_a_little_for_the_whole_image(task):
    # Whole image: IoU .0001, hull = union: GIoU .0001 -> .50005. FAR: union 200, hull 3600: GIoU -.9444 -> .0278.
    assert value(GIoU(), boxed([0, 0, 1000, 1000]), task) == pytest.approx(0.50005)
    assert value(GIoU(), boxed(FAR), task) == pytest.approx((200 / 3600) / 2)


def test_a_scheduled_threshold_is_that_of_its_step(task):
    hits = ThresholdIoU(threshold=linear(0.3, 0.8, 500))
    assert value(hits, boxed(HALF), task) == 1.0
    assert value(hits.at(199), boxed(HALF), task) == 1.0
    assert value(hits.at(201), boxed(HALF), task) == 0.0


def test_thresholds_count_as_many_hits_as_can_be_made(example):
    # The first box hits both true boxes, the second only the first: two hits, whatever the sum of IoU prefers.
    task = example([[0, 0, 10, 10], [0, 4, 10, 14]])
    assert value(ThresholdIoU(threshold=0.3), boxed([0, 1, 10, 11], [0, -0, 10, 6]), task) == 1.0


def test_the_truth_is_converted_to_the_space_in_which_the_model_writes():
    truth = Boxes(xyxy=np.array([[32.0, 12, 64, 48]]), space=pixel(64, 48))
    spaces = {"[[500, 250, 1000, 1000]]": None, "[[0.5, 0.25, 1, 1]]": rel1, "[[32, 12, 64, 48]]": pixel(64, 48)}
    for text, space in spaces.items():
        declared = {} if space is None else {"box_space": space}
        task = Example(id="e", prompt="p", reference=Reference(boxes=truth), **declared)
        assert value(SoftF1(), f"<box>{text}</box>", task) == 1.0
        for other in set(spaces) - {text}:
            assert value(SoftF1(), f"<box>{other}</box>", task) < 1.0


def test_labels_and_images_must_agree_where_they_are_asked_for(example):
    task = example([[0, 0, 10, 10]], box_labels=("Cell",))
    named = '{{"bbox_2d": [0, 0, 10, 10], "label": "{}"}}'
    assert value(SoftF1(match_labels=True), named.format("cell"), task) == 1.0
    assert value(SoftF1(match_labels=True), named.format("dog"), task) == 0.0
    assert value(SoftF1(match_labels=True), boxed([0, 0, 10, 10]), task) == 0.0
    assert value(SoftF1(), named.format("dog"), task) == 1.0
    truth = Boxes(xyxy=np.array([[0.0, 0, 10, 10]]), space=task.box_space, image=(1,))
    second = Example(id="e", prompt="p", reference=Reference(boxes=truth))
    assert value(SoftF1(), '{"bbox_2d": [0, 0, 10, 10], "image": 1}', second) == 1.0
    assert value(SoftF1(), '{"bbox_2d": [0, 0, 10, 10], "image": 0}', second) == 0.0
    assert value(SoftF1(), boxed([0, 0, 10, 10]), second) == 0.0


def test_a_group_is_scored_as_each_of_its_completions(example):
    task = example([[0, 0, 10, 10], [20, 20, 40, 40]])
    texts = [boxed(HALF), "none", boxed(), boxed(FAR, HALF, [20, 20, 40, 39]), boxed([0, 0, 2000, 10])]
    group = [Completion(text=text) for text in texts]
    for reward in (SoftF1(), GIoU(), MatchedIoU(), MeanAP()):
        assert list(reward.score_group(group, task)) == [reward.score(each, task) for each in group]


def test_mean_ap_by_hand(example):
    task = example([[0, 0, 10, 10], [20, 20, 30, 30]])
    # IoU .8 and 0: of 10 thresholds .50 to .80 (7) hit one of two. Equal scores: one point, recall 1/2, precision 1/2,
    # reached at the 51 recalls 0 to .50: .7 * .5 * 51 / 101.
    assert value(MeanAP(), boxed([0, 0, 10, 8], FAR), task) == pytest.approx(0.7 * 0.5 * 51 / 101)
    assert value(MeanAP(), boxed([0, 0, 10, 10], [20, 20, 30, 30]), task) == 1.0
    # With scores that put the hit first: precision 1 at those recalls.
    scored = '[{"bbox_2d": [50, 50, 60, 60], "score": 0.1}, {"bbox_2d": [0, 0, 10, 8], "score": 0.9}]'
    assert value(MeanAP(), scored, task) == pytest.approx(0.7 * 51 / 101)


def test_confidence_by_hand(task):
    pair = '[{"bbox_2d": [0, 0, 10, 9], "score": 0.9}, {"bbox_2d": [0, 0, 10, 10], "score": 0.3}]'
    # One true box: only one of the two is matched, and which is left to the assignment: (.9 + .7) / 2 or (.1 + .3) / 2.
    assert value(Confidence(), pair, task) in (pytest.approx(0.8), pytest.approx(0.2))
    assert value(Confidence(), '{"bbox_2d": [0, 0, 10, 9], "score": 0.9}', task) == pytest.approx(0.9)
    assert value(Confidence(), '{"bbox_2d": [50, 0, 60, 9], "score": 0.9}', task) == pytest.approx(0.1)
    assert value(Confidence(), '{"bbox_2d": [0, 0, 10, 9], "score": 7}', task) == 0.0
    assert value(Confidence(), boxed(HALF), task) == 0.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: FBetaIoU(beta=0),
        lambda: FBetaIoU(threshold=1.0),
        lambda: MatchedIoU(power=0),
        lambda: ThresholdIoU(threshold=linear(0.3, 1.5, 10)),
    ],
)
def test_parameters_are_checked(make):
    with pytest.raises(ValueError, match="got"):
        make()


def test_without_reference_boxes_a_box_reward_abstains(example):
    for reward in (SoftF1(), GIoU(), MeanAP()):
        assert reward.score(Completion(text=boxed(HALF)), example()).status == "abstain"
