"""The metrics against values derived by hand, and the interval against scipy's t over blocks."""

import numpy as np
import pytest
from scipy import stats

from groundrl.experiments.metrics import METRICS
from groundrl.experiments.metrics.grounding import set_iou
from groundrl.experiments.recording.evaluation import (
    difference,
    level,
    per_example,
    report,
    summarize,
)
from groundrl.rewards import Boxes, Completion, Example, Reference, pixel, rel1000


def boxes(*xyxy, space=rel1000):
    return Boxes(xyxy=np.array(xyxy, dtype=float).reshape(-1, 4), space=space)


def test_set_iou_by_hand():
    truth = boxes((0, 0, 100, 100), (200, 200, 300, 300))
    # one exact box, one missed: 1 / max(1, 2)
    assert set_iou(boxes((0, 0, 100, 100)), truth) == pytest.approx(0.5)
    # half of the first box: IoU 1/2; a false box: (1/2 + 0) / 2
    assert set_iou(boxes((0, 0, 100, 50), (600, 600, 700, 700)), truth) == pytest.approx(0.25)
    # exact, and the same box again: 2 of 3 predicted are worth something
    assert set_iou(boxes((200, 200, 300, 300), (0, 0, 100, 100), (0, 0, 100, 100)), truth) == pytest.approx(2 / 3)
    assert set_iou(boxes(), truth) == 0.0
    assert set_iou(None, truth) == 0.0
    assert set_iou(boxes(), boxes()) == 1.0
    assert set_iou(boxes((1, 1, 2, 2)), boxes()) == 0.0


def test_set_iou_pairs_by_assignment_not_by_order():
    # greedy would take (a, A) at 0.6 and leave (b, B) at 0; the assignment takes (a, B) and (b, A)
    a, b = (0, 0, 100, 100), (0, 0, 60, 100)
    big, left = (0, 0, 100, 60), (0, 0, 60, 100)
    assert set_iou(boxes(a, b), boxes(left, big)) == set_iou(boxes(b, a), boxes(left, big)) == pytest.approx(0.8)


def test_set_iou_converts_the_space():
    assert set_iou(boxes((250, 500, 500, 1000)), boxes((16, 32, 32, 64), space=pixel(64, 64))) == pytest.approx(1.0)


def rows(values, decoding="sampled"):
    """`values[example] = (block, [iou, ...])` as evaluation rows."""
    return [
        {"index": index, "block": block, "decoding": decoding, "iou": iou, "reward": None}
        for index, (block, ious) in enumerate(values.values())
        for iou in ious
    ]


def test_samples_of_an_example_become_one_number():
    found = rows({"a": ("x", [0.0, 1.0]), "b": ("x", [0.5, 0.5])}) + rows({"a": ("x", [0.3])}, "greedy")
    assert per_example(found, "iou_mean") == {0: 0.5, 1: 0.5}
    assert per_example(found, "iou_best_of_n") == {0: 1.0, 1: 0.5}
    assert summarize(found, ("iou_mean_greedy", "iou_best_of_n", "reward_mean")) == {
        "iou_mean_greedy": 0.3,
        "iou_best_of_n": 0.75,
    }


def test_the_interval_is_over_blocks():
    rng = np.random.default_rng(0)
    shift = {block: rng.normal(0.2, 0.1) for block in "abcdefgh"}
    before = {f"{block}{i}": (block, [0.4]) for block in shift for i in range(10)}
    after = {example: (block, [0.4 + shift[block]]) for example, (block, _) in before.items()}
    found = difference(rows(before), rows(after), "iou_mean")
    means = np.array(list(shift.values()))
    assert found["mean"] == pytest.approx(means.mean())
    assert found["ci95"] == pytest.approx(stats.t.interval(0.95, 7, loc=means.mean(), scale=stats.sem(means)))
    # ten copies of each example say nothing more: over examples the interval would be three times narrower
    assert found["ci95"][1] - found["ci95"][0] > 0.06


def test_one_block_has_no_interval():
    one = rows({"a": ("x", [0.1]), "b": ("x", [0.2])})
    assert difference(one, one, "iou_mean") == {"mean": 0.0, "ci95": [None, None], "num_blocks": 1}


def test_the_interval_of_a_level_weighs_a_block_by_its_examples():
    """Blocks of one, two and three examples that each have one value; by hand in `rewards/core/test_intervals.py`."""
    sizes, values = (1, 2, 3), (0.0, 0.5, 1.0)
    answers = {f"{b}{k}": (str(b), [values[b]]) for b, size in enumerate(sizes) for k in range(size)}
    assert level(rows(answers), "iou_mean") == pytest.approx([2 / 3 - 1.095402, 2 / 3 + 1.095402], abs=1e-6)


def test_the_report_compares_the_last_two_stages():
    stages = {
        name: rows({"a": ("x", [value]), "b": ("y", [value])}) for name, value in (("1", 0.1), ("2", 0.2), ("3", 0.5))
    }
    content = report(stages, ("iou_mean",))
    assert content["stages"]["2"]["iou_mean"] == pytest.approx(0.2)
    assert content["difference"]["iou_mean"]["mean"] == pytest.approx(0.3)
    assert content["ci95"]["3"]["iou_mean"] == pytest.approx([0.5, 0.5])
    assert (content["difference"]["iou_mean"]["from"], content["difference"]["iou_mean"]["to"]) == ("2", "3")
    assert (content["num_examples"], content["num_blocks"]) == (2, 2)


@pytest.mark.parametrize(
    ("said", "f1"),
    [
        ("Two nuclei. No mitotic figure. <box>[]</box>", 1.0),
        # One of two facts: the present one weighs 1, the absent one 0.25, so recall is 1 / 1.25; F1 = 2 r / (1 + r).
        ("Two nuclei. <box>[]</box>", 2 * 0.8 / 1.8),
        ("Nothing to see.", 0.0),
        ("Two nuclei. <box>[[1, 2", 0.0),
    ],
)
def test_fact_f1_by_hand(said, f1):
    truth = Boxes(xyxy=np.zeros((0, 4)), space=rel1000)
    example = Example(id="a", prompt="?", reference=Reference(report="Two nuclei. No mitotic figure.", boxes=truth))
    assert METRICS["fact_f1"].value(Completion(text=said), example) == pytest.approx(f1)
    assert METRICS["fact_f1"].value(Completion(text=said), Example(id="b", prompt="?")) is None
