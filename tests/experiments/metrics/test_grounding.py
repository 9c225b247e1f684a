"""Box metrics against values derived by hand."""

import numpy as np
import pytest

from groundrl.experiments.metrics import METRICS
from groundrl.experiments.metrics.grounding import set_iou, sizes, true_box_ious
from groundrl.rewards import Boxes, FBetaIoU, MatchedIoU, MeanAP, SoftF1, ThresholdIoU, pixel, rel1000

A, B = (0, 0, 100, 100), (200, 200, 300, 300)
HALF_A, FALSE = (0, 0, 100, 50), (600, 600, 700, 700)


def boxes(*xyxy, **more):
    return Boxes(xyxy=np.array(xyxy, dtype=float).reshape(-1, 4), space=more.pop("space", rel1000), **more)


def written(*xyxy):
    return f"<box>{[list(each) for each in xyxy]}</box>"


@pytest.mark.parametrize(
    ("said", "truth", "iou_of_true_boxes", "soft_f1", "f1_50", "ave_iou", "acc_70"),
    [
        # one exact, one missed: (1 + 0)/2; 2*1/(1+2); 2*1/3; the first box is exact
        ((A,), (A, B), 1 / 2, 2 / 3, 2 / 3, 1.0, 1.0),
        # half of A has IoU 1/2 and counts as a hit at 0.5; a false box costs nothing in iou_of_true_boxes
        ((HALF_A, FALSE), (A,), 1 / 2, 1 / 3, 2 / 3, 1 / 2, 0.0),
        # the first box is compared with the first true one, not with its own
        ((B, A), (A, B), 1.0, 1.0, 1.0, 0.0, 0.0),
        # a duplicate is a false box
        ((A, A), (A,), 1.0, 2 / 3, 2 / 3, 1.0, 1.0),
        ((), (A,), 0.0, 0.0, 0.0, 0.0, 0.0),
        ((A,), (), None, 0.0, 0.0, None, None),
        ((), (), None, 1.0, 1.0, None, None),
    ],
)
def test_by_hand(answer, measure, said, truth, iou_of_true_boxes, soft_f1, f1_50, ave_iou, acc_70):
    one = [answer(written(*said), boxes=boxes(*truth))]
    expected = {
        "iou_of_true_boxes": iou_of_true_boxes,
        "soft_f1": soft_f1,
        "f1_50": f1_50,
        "ave_iou": ave_iou,
        "acc_70": acc_70,
    }
    for name, value in expected.items():
        assert measure(name, one) == pytest.approx(value if value is not None else np.nan, nan_ok=True), name


def test_thresholds_are_reached_by_equality(answer, measure):
    one = [answer(written((0, 0, 100, 30)), boxes=boxes(A)), answer(written(HALF_A), boxes=boxes(A))]
    assert [measure(name, one) for name in ("acc_30", "acc_50", "acc_70")] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("said", ["nothing", "<box>[[0, 0, 100", "<box>[[-5, 0, 100, 100]]</box>", ""])
def test_what_cannot_be_read_or_leaves_the_image_is_zero(answer, measure, said):
    one = [answer(said, boxes=boxes(A))]
    assert [measure(name, one) for name in ("iou_of_true_boxes", "soft_f1", "f1_50", "ave_iou", "acc_30")] == [0.0] * 5


def test_the_truth_is_converted_and_images_are_kept_apart(answer, measure):
    half = boxes((16, 32, 32, 64), space=pixel(64, 64))
    assert measure("iou_of_true_boxes", [answer(written((250, 500, 500, 1000)), boxes=half)]) == 1.0
    second = answer('[{"bbox_2d": [0, 0, 100, 100], "image": 0}]', boxes=boxes(A, image=(1,)))
    assert measure("iou_of_true_boxes", [second]) == measure("f1_50", [second]) == measure("ave_iou", [second]) == 0.0


def test_the_pairing_is_an_assignment(answer, measure):
    # the first box could take either truth at 0.6; the second is the second truth: 0.6 + 1, not 0.6 + 3600 / 8400
    truth = boxes((0, 0, 100, 60), (0, 0, 60, 100))
    for said in ((A, (0, 0, 60, 100)), ((0, 0, 60, 100), A)):
        one = answer(written(*said), boxes=truth)
        assert true_box_ious(one.completion, one.example) == pytest.approx([0.6, 1.0])
        assert measure("iou_of_true_boxes", [one]) == pytest.approx(0.8)


def test_sizes_are_shares_of_the_image():
    # 50 x 100 of 1000 x 1000 is 0.5 %; 100 x 100 is 1 %; 300 x 300 is 9 %; 400 x 400 is 16 %; inverted is nothing
    found = sizes(boxes((0, 0, 50, 100), (0, 0, 100, 100), (0, 0, 300, 300), (0, 0, 400, 400), (9, 9, 1, 1)))
    assert found == ["small", "small", "medium", "large", "small"]
    assert sizes(boxes((0, 0, 8, 8), space=pixel(16, 32))) == ["large"]


def test_a_false_box_costs_in_iou_mean_and_nothing_in_iou_of_true_boxes(answer, measure):
    one = answer(written(A, FALSE, B, (400, 400, 500, 500)), boxes=boxes(A))
    assert set_iou(one.completion.boxes, one.example.reference.boxes) == 0.25  # 1 / max(4, 1)
    assert measure("iou_of_true_boxes", [one]) == 1.0


@pytest.mark.parametrize(
    ("said", "truth"),
    [
        # the right place in the wrong image of two
        ('[{"bbox_2d": [0, 0, 100, 100], "image": 0}]', boxes(A, image=(1,))),
        # 900 to 1100 of a picture that ends at 1000: its IoU with 900 to 1000 would be a half
        ("<box>[[900, 0, 1100, 100]]</box>", boxes((900, 0, 1000, 100))),
        ("<box>[[100, 100, 0, 0]]</box>", boxes(A)),
    ],
)
def test_a_box_elsewhere_matches_nothing_in_any_metric(answer, measure, said, truth):
    one = answer(said, boxes=truth)
    assert one.completion.boxes is not None
    assert set_iou(one.completion.boxes, truth) == 0.0
    assert SoftF1().score(one.completion, one.example).value == 0.0
    assert [measure(name, [one]) for name in ("iou_of_true_boxes", "soft_f1", "f1_50", "ave_iou", "acc_30")] == [
        0.0
    ] * 5


OF_BOXES = tuple(name for name, metric in METRICS.items() if metric.reads == ("boxes",))
REWARDS = (SoftF1(), MatchedIoU(), FBetaIoU(), ThresholdIoU(), MeanAP())


def test_what_a_false_box_costs_is_said_by_the_name(answer, measure):
    """One right box and three false ones: of a set 1/4, 2/5 as F1; of the true boxes alone nothing is lost."""
    one = [answer(written(A, FALSE, B, (800, 800, 900, 900)), boxes=boxes(A))]
    values = {name: measure(name, one) for name in OF_BOXES}
    assert values == pytest.approx(
        {"iou_mean": 1 / 4, "iou_best_of_n": 1 / 4, "iou_positive": 1 / 4, "soft_f1": 2 / 5, "f1_50": 2 / 5}
        | dict.fromkeys(("iou_of_true_boxes", "ave_iou", "acc_30", "acc_50", "acc_70"), 1.0)
    )


@pytest.mark.parametrize(
    ("said", "image"),
    [
        ('[{"bbox_2d": [0, 0, 100, 100], "image": 0}]', (1,)),  # the right box, on the wrong image of two
        ("<box>[[0, 0, 100, 1100]]</box>", None),  # outside
        ("<box>[[-5, 0, 100, 100]]</box>", None),
        ("<box>[[100, 100, 0, 0]]</box>", None),  # inverted
        ("<box>[[0, 0, 0, 100]]</box>", None),
    ],
)
def test_a_box_elsewhere_matches_nothing_everywhere(answer, measure, said, image):
    """Every metric of boxes and every reward that pays for overlap has one answer."""
    one = answer(said, boxes=boxes((0, 0, 100, 1000) if "1100" in said else A, image=image))
    assert {name: measure(name, [one]) for name in OF_BOXES} == dict.fromkeys(OF_BOXES, 0.0)
    for reward in REWARDS:
        assert reward.score(one.completion, one.example).value == reward.range[0], reward
