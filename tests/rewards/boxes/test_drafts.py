"""Answers are written as the gold answers are: in their form, their numbers, their frame, their box space."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrl.rewards import Boxes, Completion, Example, Reference, SoftF1, audit, pixel, rel1, rel1000
from groundrl.rewards.audit.audit_task import AuditTask, gold_text
from groundrl.rewards.boxes.drafts import take_apart

FORMS = {
    "tagged": "2 nuclei <box>[[010, 020, 300, 400], [500, 020, 600, 400]]</box>",
    "tagged, words behind": "<box>[[10, 20, 300, 400]]</box> are the nuclei",
    "one by one": "nuclei <box>[10,20,300,400]</box><box>[5,6,7,8]</box>",
    "bare": "Found [[10, 20, 300, 400]] here.",
    "bare single": "[10, 20, 300, 400]",
    "corners": "See <|object_ref_start|>a<|object_ref_end|><|box_start|>(10,20),(300,400)<|box_end|>"
    "<|object_ref_start|>b<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>.",
    "json": '```json\n[{"bbox_2d": [10, 20, 300, 400], "label": "a"}, {"bbox_2d": [1, 2, 3, 4], "label": "b"}]\n```',
    "shares": "<box>[[0.100, 0.200, 0.300, 0.400]]</box>",
    "thought": "<think>Look.</think><answer>1 nucleus <box>[[10, 20, 300, 400]]</box></answer>",
}


@pytest.mark.parametrize("gold", FORMS.values(), ids=FORMS)
def test_a_gold_answer_is_put_together_again(gold):
    assert take_apart(gold, boxes=True, default=None).text == gold


@pytest.mark.parametrize("gold", FORMS.values(), ids=FORMS)
def test_other_boxes_are_read_back_in_the_same_frame(gold):
    draft = take_apart(gold, boxes=True, default=None)
    scale = 1.0 if "0.1" in gold else 1000.0
    boxes = np.array([[0.1, 0.1, 0.9, 0.8], [0.2, 0.0, 0.3, 1.0], [0.0, 0.0, 1.0, 1.0]]) * scale
    written = Completion(text=draft.with_boxes(boxes, ("x", "y", "z")))
    assert written.boxes.xyxy.tolist() == pytest.approx(boxes)
    if "label" in gold or "object_ref" in gold:
        assert written.boxes.labels == ("x", "y", "z")
    else:
        assert written.label.split() == Completion(text=gold).label.split()


@given(
    st.lists(st.tuples(*[st.integers(0, 999)] * 4), max_size=6),
    st.sampled_from([gold for gold in FORMS.values() if "0.1" not in gold]),
)
def test_other_boxes_are_read_back_in_the_same_frame_whatever_they_are(rows, gold):
    boxes = np.array(rows, dtype=float).reshape(-1, 4)
    text = take_apart(gold, boxes=True, default=None).with_boxes(boxes, ["x"] * len(rows))
    assert np.array(Completion(text=text).parsed_boxes.xyxy).reshape(-1, 4).tolist() == boxes.tolist()


def test_a_negative_gets_the_form_of_the_others():
    truth = Boxes(xyxy=np.array([[1.0, 2.0, 30.0, 40.0]]), space=pixel(64, 64))
    empty = Boxes(xyxy=np.zeros((0, 4)), space=pixel(64, 64))
    positive = Example(
        id="p",
        prompt="x",
        answer='[{"bbox_2d": [1, 2, 30, 40], "label": "cell"}]',
        reference=Reference(boxes=truth),
        box_space=pixel(64, 64),
    )
    negative = Example(id="n", prompt="x", answer="[]", reference=Reference(boxes=empty), box_space=pixel(64, 64))
    task = AuditTask([negative, positive], seed=0)
    assert task.blind(0, np.array([[0.0, 0.0, 1.0, 1.0]])) == '[{"bbox_2d": [0, 0, 64, 64], "label": "cell"}]'


def test_padding_is_that_of_all_gold_answers():
    """[500, 500, 600, 600] alone does not show that numbers have three digits; its neighbour's 010 does."""
    golds = ("1 cell <box>[[500, 500, 600, 600]]</box>", "1 cell <box>[[010, 500, 600, 600]]</box>")
    boxes = Boxes(xyxy=np.array([[500.0, 500.0, 600.0, 600.0]]), space=rel1000)
    examples = [Example(id=gold, prompt="x", answer=gold, reference=Reference(boxes=boxes)) for gold in golds]
    for order in (examples, examples[::-1]):
        assert AuditTask(order, seed=0).blind(0, np.zeros((1, 4))) == "1 cell <box>[[000, 000, 000, 000]]</box>"


@pytest.mark.parametrize(
    ("space", "written"),
    [
        (rel1000, "cell <box>[[500, 500, 1000, 1000]]</box>"),
        (rel1, "cell <box>[[0.500, 0.500, 1.000, 1.000]]</box>"),
        (pixel(64, 32), "cell <box>[[32, 16, 64, 32]]</box>"),
    ],
)
def test_without_an_answer_gold_is_written_from_the_reference(space, written):
    truth = Boxes(xyxy=np.array([[100.0, 100.0, 200.0, 200.0]]), space=pixel(200, 200))
    example = Example(id="e", prompt="x", reference=Reference(label="cell", boxes=truth), box_space=space)
    assert gold_text(example) == written
    report = audit(SoftF1(), [example])
    assert report.gold == 1.0


def test_an_example_without_a_gold_answer_is_refused():
    with pytest.raises(ValueError, match="example 'e' has no `answer`, and its reference has nothing"):
        audit(SoftF1(), [Example(id="e", prompt="x")])
