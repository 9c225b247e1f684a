import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrl.experiments.data.formats.masks import mask_boxes, visible_objects
from groundrl.experiments.data.shipped.scene import grounding_answer
from groundrl.rewards import Boxes, box_format, parse_boxes, pixel, rel1000

box_text = box_format("medmo").gold


def test_an_object_counts_from_half_of_its_pixels_on():
    whole = np.zeros((4, 8), dtype=np.int64)
    whole[0, 2:6] = 1  # columns 2 to 5: half of it in columns 0 to 3
    whole[2, 3:6] = 2  # columns 3 to 5: a third of it
    whole[3, 0:2] = 3  # whole
    areas = np.bincount(whole.ravel())
    assert areas.tolist() == [23, 4, 3, 2]
    assert visible_objects(whole[:, :4], areas) == [1, 3]
    # Object 1 is visible in columns 2 and 3, so its box ends at the far edge of column 3, which is 4.
    assert mask_boxes(whole[:, :4], [3, 1]).tolist() == [[2, 0, 4, 1], [0, 3, 2, 4]]


def test_no_object_has_no_boxes():
    assert mask_boxes(np.zeros((4, 4), dtype=np.int64), []).shape == (0, 4)


def test_the_answer_is_written_in_three_digit_thousandths():
    # 8/64 = 125, 1/64 = 15.6, 64/64 = 1000 which is written 999.
    boxes = Boxes(xyxy=np.array([[0.0, 8, 1, 64]]), space=pixel(64.0, 64.0))
    answer = ("1 nucleus", "1 nucleus <box>[[000, 125, 016, 999]]</box>")
    assert grounding_answer(boxes, singular="nucleus", plural="nuclei") == answer
    none = Boxes(xyxy=np.zeros((0, 4)), space=pixel(64.0, 64.0))
    assert grounding_answer(none, singular="nucleus", plural="nuclei") == ("0 nuclei", "0 nuclei <box>[]</box>")


@pytest.mark.parametrize(
    ("box", "written"),
    [
        ([2000, 2000, 2001, 2001], "<box>[[500, 500, 501, 501]]</box>"),  # 500.0 to 500.25: would have no area
        ([3999, 3999, 4000, 4000], "<box>[[998, 998, 999, 999]]</box>"),  # at the far corner: grows inwards
        ([0, 0, 1, 4000], "<box>[[000, 000, 001, 999]]</box>"),
    ],
)
def test_a_box_under_a_thousandth_keeps_an_area(box, written):
    assert box_text(Boxes(xyxy=np.array([box], dtype=float), space=pixel(4000.0, 4000.0))) == written


@given(st.lists(st.tuples(*[st.integers(0, 998), st.integers(1, 999)] * 2), max_size=5))
def test_what_is_written_is_read_back(corners):
    rows = [(x, y, min(x + w, 999), min(y + h, 999)) for x, w, y, h in corners]
    text = box_text(Boxes(xyxy=np.array(rows, dtype=float).reshape(-1, 4), space=rel1000))
    parsed = parse_boxes(text)
    assert parsed.status == "ok"
    assert list(parsed.xyxy) == rows
