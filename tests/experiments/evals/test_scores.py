"""From answers to figures by hand: sizes of objects, intervals over blocks, what a metric leaves out."""

import numpy as np
import pytest

from groundrl.experiments.evals.scores import Scored, by_size, figure_of, joined
from groundrl.experiments.metrics import METRICS, Answered
from groundrl.rewards import Boxes, Completion, Example, Reference, rel1000


def answered(id, said, true, block=None):
    boxes = None if true is None else Boxes(xyxy=np.array(true, dtype=float).reshape(-1, 4), space=rel1000)
    example = Example(id=id, prompt="?", reference=Reference(label="x", boxes=boxes), block=block)
    return Answered(example=example, completion=Completion(text=f"x <box>{said}</box>"))


def test_true_boxes_by_their_size():
    small, large = [0, 0, 100, 100], [0, 0, 1000, 500]
    found = by_size(
        [
            answered("a", [small], [small, large], block="left"),  # the small one whole, the large one missed
            answered("b", [[0, 0, 500, 500]], [large], block="right"),  # half of it
            answered("c", [], [large], block="right"),
            answered("d", [[5, 5, 9, 9]], None),
        ]
    )
    assert set(found) == {"small", "large"}
    assert found["small"]["iou_of_true_boxes"] == {"value": 1.0, "ci95": [None, None], "n": 1, "num_blocks": 1}
    assert found["large"]["iou_of_true_boxes"] | {"ci95": 0} == {"value": 0.5 / 3, "ci95": 0, "n": 3, "num_blocks": 2}
    # Sums 0 of 1 box and 0.5 of 2: d = -1/18 and 1/18, the standard error sqrt(2 (2/324)) = 1/9, t = 12.7062.
    assert found["large"]["iou_of_true_boxes"]["ci95"] == pytest.approx([1 / 6 - 12.7062 / 9, 1 / 6 + 12.7062 / 9])
    assert found["large"]["recall_50"]["value"] == 1 / 3, "an IoU of 0.5 is found"


def test_a_figure_counts_only_what_the_metric_applies_to():
    values = np.array([[1.0, 1.0], [np.nan, 1.0], [0.0, 1.0], [np.nan, np.nan]])
    found = figure_of(METRICS["iou_of_true_boxes"], values, ("a", "a", "a", "b"))
    assert found == {"value": 0.5, "ci95": [None, None], "n": 2, "num_blocks": 1}
    assert figure_of(METRICS["iou_of_true_boxes"], values[3:], ("b",)) is None


def test_a_row_has_null_where_a_metric_does_not_apply():
    statistics = {"iou_of_true_boxes": np.array([[0.25, 1.0], [np.nan, 1.0]])}
    rows = Scored(name="d", task="t", ids=("a", "b"), blocks=("a", "b"), statistics=statistics).columns()
    assert [row["iou_of_true_boxes"] for row in rows] == [[0.25, 1.0], None]


def test_together_only_what_all_measure_in_the_same_numbers():
    def scored(name, **statistics):
        return Scored(name=name, task="grounding", ids=("1",), blocks=("1",), statistics=statistics)

    one, two, three = np.ones((1, 2)), np.zeros((1, 2)), np.zeros((1, 3))
    parts = [scored("a", same=one, wide=one, lacking=one), scored("b", same=two, wide=three)]
    found = joined([*parts])
    assert (found.ids, found.blocks) == (("a/1", "b/1"), ("a/1", "b/1")), "blocks of two data sets are not one"
    assert {name: values.tolist() for name, values in found.statistics.items()} == {"same": [[1, 1], [0, 0]]}


def test_the_labels_of_two_data_sets_are_not_the_same_labels():
    macro = {"label_f1_macro": np.ones((1, 3))}
    parts = [Scored(name=name, task="c", ids=("1",), blocks=("1",), statistics=macro) for name in "ab"]
    assert joined(parts).statistics == {}
