"""IoU, GIoU and matching by hand, against brute force, and at the edges; spaces of coordinates."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from groundrl.rewards import (
    Boxes,
    giou_matrix,
    iou_matrix,
    match_boxes,
    pad_boxes,
    pixel,
    rel1,
    rel1000,
    smart_resize,
)

boxes = hnp.arrays(np.float64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.integers(0, 30).map(float))


def array(*rows):
    return np.array(rows, dtype=float).reshape(-1, 4)


def test_iou_and_giou_by_hand():
    # [0,0,2,2] and [1,1,3,3]: inside 1, union 4 + 4 - 1 = 7, hull 9. IoU 1/7; GIoU 1/7 - (9 - 7)/9.
    a, b = array([0, 0, 2, 2]), array([1, 1, 3, 3])
    assert iou_matrix(a, b) == pytest.approx(1 / 7)
    assert giou_matrix(a, b) == pytest.approx(1 / 7 - 2 / 9)
    # [0,0,1,1] and [2,0,3,1]: apart; union 2, hull 3: GIoU = 0 - 1/3. Continuous: no +1 anywhere.
    assert giou_matrix(array([0, 0, 1, 1]), array([2, 0, 3, 1])) == pytest.approx(-1 / 3)
    assert iou_matrix(array([0, 0, 1, 1]), array([1, 0, 2, 1])) == 0


DEGENERATE = {
    "inverted": [5, 5, 1, 1],
    "inverted in x": [5, 1, 1, 5],
    "no width": [1, 1, 1, 5],
    "a point": [2, 2, 2, 2],
}


@pytest.mark.parametrize("box", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_a_degenerate_box_matches_nothing_not_even_itself(box):
    odd, whole = array(box), array([0, 0, 9, 9])
    for other in (odd, whole):
        assert iou_matrix(odd, other) == 0
        assert giou_matrix(odd, other) == -1
        assert giou_matrix(other, odd) == -1


@pytest.mark.filterwarnings("error")
def test_no_coordinate_overflows():
    far = array([-1.7e308, -1.7e308, 1.7e308, 1.7e308], [0, 0, 1e-200, 1e-200], [0, 0, 5e-324, 1])
    for matrix in (iou_matrix(far, far), giou_matrix(far, far)):
        assert np.isfinite(matrix).all()
        assert (np.abs(matrix) <= 1).all()


@given(boxes, boxes)
def test_a_ragged_batch_is_its_rows(a, b):
    sets = [a, b, a[:1], b[:0]]
    for matrix in (iou_matrix, giou_matrix):
        batch = matrix(pad_boxes(sets), b[None])
        for own, row in zip(sets, batch, strict=True):
            np.testing.assert_array_equal(row[: len(own)], matrix(own, b))


@given(boxes, boxes)
def test_giou_is_bounded_symmetric_and_below_iou(a, b):
    iou, giou = iou_matrix(a, b), giou_matrix(a, b)
    assert ((giou >= -1) & (giou <= 1) & (giou <= iou)).all()
    np.testing.assert_array_equal(giou, giou_matrix(b, a).T)


@given(boxes, boxes, st.floats(0.01, 100), st.floats(0.01, 100))
def test_giou_does_not_depend_on_scale(a, b, wide, high):
    scale = np.array([wide, high, wide, high])
    np.testing.assert_allclose(giou_matrix(a * scale, b * scale), giou_matrix(a, b), atol=1e-9)


@given(boxes, boxes)
def test_hungarian_is_the_best_of_all_assignments(a, b):
    values = iou_matrix(a, b) if len(a) <= len(b) else iou_matrix(a, b).T
    rows = range(len(values))
    best = max(values[list(rows), list(p)].sum() for p in itertools.permutations(range(values.shape[1]), len(values)))
    assert match_boxes(a, b).values.sum() == pytest.approx(best)


def test_greedy_takes_the_best_pair_first_and_may_lose():
    # By length from 0: b0 = 10, b1 = 6, a0 = 8, a1 = 11. IoU a0: .8, .75; a1: 10/11, 6/11.
    a, b = array([0, 0, 8, 1], [0, 0, 11, 1]), array([0, 0, 10, 1], [0, 0, 6, 1])
    assert match_boxes(a, b, method="greedy").values.sum() == pytest.approx(10 / 11 + 0.75)
    # a0 = 10, a1 = 9 with b0 = 10, b1 = 1: greedy takes (a0, b0) = 1, then (a1, b1) = 1/9; so does the optimum.
    # a0 = 5, a1 = 4 with b0 = 4.5, b1 = 1: greedy .9 + 1/4 = 1.15; optimum .889 + 1/5 = 1.089 is less. Crossing needs
    # b1 apart: a0 = [0, 10], a1 = [4, 10], b0 = [3, 10], b1 = [0, 3]: greedy 6/7 + .3, as large as 7/10 + 0.
    a, b = array([0, 0, 10, 1], [4, 0, 14, 1]), array([2, 0, 12, 1], [7, 0, 17, 1])
    # IoU a0: 8/12, 3/17; a1: 8/12, 7/13. Greedy takes a0-b0 first; the rows say the other way round loses.
    greedy, best = match_boxes(a[::-1], b, method="greedy"), match_boxes(a[::-1], b)
    assert greedy.values.sum() == pytest.approx(8 / 12 + 3 / 17)
    assert best.values.sum() == pytest.approx(8 / 12 + 7 / 13)


def test_a_forbidden_pair_is_never_made():
    a, b = array([0, 0, 2, 2], [5, 5, 7, 7]), array([0, 0, 2, 2])
    found = match_boxes(a, b, allowed=np.array([[False], [True]]))
    assert (found.rows.tolist(), found.columns.tolist(), found.values.tolist()) == ([1], [0], [0.0])
    assert len(match_boxes(a, b, allowed=np.array([[False], [False]])).rows) == 0


@given(boxes, st.integers(1, 5000), st.integers(1, 5000))
def test_spaces_round_trip(xyxy, width, height):
    for space in (rel1, rel1000, pixel(width, height)):
        there = Boxes(xyxy=xyxy, space=pixel(64, 48)).to(space)
        np.testing.assert_allclose(there.to(pixel(64, 48)).xyxy, xyxy, atol=1e-9)


def test_spaces_by_hand():
    truth = Boxes(xyxy=array([32, 12, 64, 48]), space=pixel(64, 48))
    assert truth.to(rel1000).xyxy.tolist() == [[500, 250, 1000, 1000]]
    assert truth.to(rel1).xyxy.tolist() == [[0.5, 0.25, 1, 1]]


# (width, height) -> resized. 1000 x 700 at 28: 35.7 -> 36 and 25: 1008 x 700. 10 x 10 at 28: 0 x 0 pixels are below
# 3136, so by sqrt(3136/100) = 5.6 to 56 x 56. 4000 x 3000: above 1003520, by 3.458 down to 1156.7 and 867.5,
# in whole factors 41 * 28 = 1148 and 30 * 28 = 840.
@pytest.mark.parametrize(
    ("size", "resized"), [((1000, 700), (1008, 700)), ((10, 10), (56, 56)), ((4000, 3000), (1148, 840))]
)
def test_qwen25_vl_writes_pixels_of_the_resized_image(size, resized):
    space = pixel(*smart_resize(*size, factor=28, min_pixels=56 * 56, max_pixels=28 * 28 * 1280))
    assert (space.kind, space.width, space.height) == ("pixel", *resized)
    corner = Boxes(xyxy=array([0, 0, *size]), space=pixel(*size)).to(space).xyxy
    np.testing.assert_allclose(corner, [[0, 0, *resized]])


def test_qwen3_vl_resizes_by_32():
    # 1000 / 32 = 31.25 -> 31, 700 / 32 = 21.9 -> 22.
    assert smart_resize(1000, 700, factor=32, min_pixels=65536, max_pixels=16777216) == (992, 704)
    with pytest.raises(ValueError, match="aspect ratio"):
        smart_resize(1000, 4, factor=32, min_pixels=1, max_pixels=10**9)


@settings(max_examples=200)
@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([28, 32]))
def test_smart_resize_is_that_of_transformers(width, height, factor):
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    if max(width, height) > 200 * min(width, height):
        return
    own = smart_resize(width, height, factor=factor, min_pixels=3136, max_pixels=1003520)
    assert own[::-1] == module.smart_resize(height, width, factor, 3136, 1003520)
