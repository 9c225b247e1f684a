"""Every box format: what is written is read, what a family publishes is read, and nothing is read in a wrong order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrl.rewards import FORMATS, Boxes, Completion, Example, Reference, SoftF1, box_format, parse_boxes, rel1000

# One answer of each family, as its model card or processor writes it, and the boxes that it states, x first.
PUBLISHED = {
    "medmo": ("2 nuclei <box>[[010, 020, 300, 400]]</box>", (10, 20, 300, 400), None),
    "internvl": ("<ref>a dog</ref><box>[[10, 20, 300, 400]]</box>", (10, 20, 300, 400), ("a dog",)),
    "qwen3_vl": ('```json\n[\n\t{"bbox_2d": [10, 20, 300, 400], "label": "dog"}\n]\n```', (10, 20, 300, 400), ("dog",)),
    "qwen25_vl": ('```json\n[{"bbox_2d": [341, 258, 397, 360], "label": "cat"}]\n```', (341, 258, 397, 360), ("cat",)),
    "qwen2_vl": (
        "<|object_ref_start|>dog<|object_ref_end|><|box_start|>(10,20),(300,400)<|box_end|>",
        (10, 20, 300, 400),
        ("dog",),
    ),
    "qwen_vl": ("<ref>high-five</ref><box>(536,509),(588,602)</box>", (536, 509, 588, 602), ("high-five",)),
    "corners": ("The cell is at (10,20),(300,400).", (10, 20, 300, 400), None),
    "lists": ("[[10, 20, 300, 400]]", (10, 20, 300, 400), None),
    "unit": ("[0.12, 0.34, 0.56, 0.78]", (0.12, 0.34, 0.56, 0.78), None),
    "gemini": ('```json\n[{"box_2d": [20, 10, 400, 300], "label": "dog"}]\n```', (10, 20, 300, 400), ("dog",)),
    "paligemma": ("<loc0456><loc0123><loc1000><loc0789> cat", (123, 456, 789, 1000), ("cat",)),
    "deepseek_vl2": (
        "<|ref|>The giraffe<|/ref|><|det|>[[580, 270, 999, 904]]<|/det|>",
        (580, 270, 999, 904),
        ("The giraffe",),
    ),
    "glm_v": ("The bottle is at <|begin_of_box|>[[94,598,177,991]]<|end_of_box|>.", (94, 598, 177, 991), None),
}
OWN = ("gemini", "paligemma", "deepseek_vl2")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_example_is_read(name):
    text, box, labels = PUBLISHED[name]
    parsed = parse_boxes(text, format=name)
    assert (parsed.status, parsed.xyxy, parsed.labels) == ("ok", (tuple(map(float, box)),), labels)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_what_is_written_is_read(name, data):
    """Numbers of the format's own grid come back as they are, and labels where the format states them."""
    known = FORMATS[name]
    top = round((known.largest or 999) * 10**known.decimals)
    rows = data.draw(st.lists(st.tuples(*[st.integers(0, top)] * 4), max_size=5))
    boxes = np.array(rows, dtype=float).reshape(-1, 4) / 10**known.decimals
    labels = data.draw(
        st.lists(st.sampled_from(["cell", "left lung", "a [1, 2] b"]), min_size=len(rows), max_size=len(rows))
    )
    parsed = parse_boxes(known.write(boxes, labels), format=name)
    assert parsed.status == "ok"
    assert parsed.xyxy == tuple(map(tuple, boxes.tolist()))
    if rows:
        assert parsed.labels == (tuple(labels) if known.labelled else None)


@pytest.mark.parametrize("written", PUBLISHED)
@pytest.mark.parametrize("declared", PUBLISHED)
def test_another_order_or_space_is_never_read(written, declared):
    parsed = parse_boxes(PUBLISHED[written][0], format=declared)
    alike = written == declared or (written not in OWN and declared not in OWN)
    assert (parsed.status == "ok") == alike
    if not alike:
        assert (parsed.status, parsed.xyxy) == ("undeclared_format", ())
        assert parsed.seen


def test_box_2d_is_refused_with_its_reason_and_right_when_declared():
    """y first: `[20, 10, 400, 300]` is `10 20 300 400`; read x first it would overlap the truth and be wrong."""
    truth = Boxes(xyxy=np.array([[10.0, 20.0, 300.0, 400.0]]), space=rel1000)
    text = PUBLISHED["gemini"][0]
    for space, value, detail in (
        (rel1000, 0.0, {"reason": "boxes: undeclared_format: box_2d"}),
        (FORMATS["gemini"].declared(), 1.0, None),
    ):
        example = Example(id="a", prompt="", reference=Reference(boxes=truth), box_space=space)
        score = SoftF1().score(Completion(text=text, box_space=space), example)
        assert score.value == pytest.approx(value)
        assert detail is None or score.detail == detail


def test_gold_boxes_keep_an_area_inside_the_format():
    """A box thinner than a step, at the far edge: 1023 is the last bin of 1024."""
    thin = Boxes(xyxy=np.array([[999.9, 0.0, 1000.0, 1000.0]]), space=rel1000)
    assert FORMATS["paligemma"].gold(thin) == "<loc0000><loc1022><loc1023><loc1023>"
    assert FORMATS["unit"].gold(thin) == "[[0.999, 0.000, 1.000, 1.000]]"


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(ValueError, match="no box format is called 'gemni'; did you mean 'gemini'"):
        box_format("gemni")
    with pytest.raises(ValueError, match="qwen25_vl is in pixels of the image"):
        FORMATS["qwen25_vl"].declared()


MARKED = {
    "<ref>dog</ref><box>[[1, 2, 3, 4]]</box><|im_end|>": ("internvl", "dog"),
    "<ref>dog</ref> <box>(1,2),(3,4)</box>": ("qwen_vl", "dog"),
    "<|ref|>dog<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>": ("deepseek_vl2", "dog"),
    "<|begin_of_box|>yes<|end_of_box|>": ("glm_v", "yes"),
    "dog <|begin_of_box|>[[1, 2, 3, 4]]<|end_of_box|><|endoftext|>": ("glm_v", "dog"),
    '[{"bbox_2d": [1, 2, 3, 4], "label": "dog"}, {"bbox_2d": [1, 2, 3, 4], "label": "dog"}]': ("qwen3_vl", "dog"),
    "<loc0001><loc0002><loc0003><loc0004> dog ; <loc0001><loc0002><loc0003><loc0004> cat": ("paligemma", "dog, cat"),
    "yes<|im_end|>": ("medmo", "yes"),
}


@pytest.mark.parametrize("text", MARKED)
def test_marks_are_no_part_of_a_label(text):
    name, label = MARKED[text]
    assert Completion(text=text, box_space=FORMATS[name].declared()).label == label
