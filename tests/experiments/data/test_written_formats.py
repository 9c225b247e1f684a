"""Under a declared format the prompt, the gold answer, the parser and the audit all follow it."""

import numpy as np
import pytest

from groundrl.experiments.data.seen_pixels import as_the_model_writes, in_format
from groundrl.experiments.tasks import TASKS, Fields
from groundrl.rewards import (
    FORMATS,
    Boxes,
    Completion,
    Example,
    ImageRef,
    Reference,
    audit,
    parse_reward,
    pixel,
    rel1000,
)

REWARD = "0.6*SoftF1() + 0.3*LabelAccuracy() + 0.1*Format()"
IMAGE = (ImageRef(source=b"", width=200, height=400),)


def grounding(index):
    """One to three boxes of a cell or a rod."""
    rng = np.random.default_rng(index)
    low = rng.integers(0, 100, (1 + index % 3, 2)).astype(float)
    truth = Boxes(xyxy=np.concatenate([low, low + 60], axis=1), space=pixel(200, 400), labels=("cell",) * len(low))
    fields = Fields(id=str(index), dataset="d", images=IMAGE, boxes=truth, target="cells", block=str(index // 2))
    return TASKS["grounding"].example(fields, template="asked")


def test_the_prompt_asks_for_the_declared_format():
    written = as_the_model_writes([grounding(0)], None, "gemini")[0]
    assert written.prompt.endswith('Write boxes as [{"box_2d": [y1, x1, y2, x2], "label": "label"}], from 0 to 1000.')
    assert "<box>" not in written.prompt + written.answer
    assert grounding(0).prompt.endswith("Write boxes as <box>[[x1, y1, x2, y2]]</box>, from 0 to 1000.")


def test_boxes_in_a_prompt_follow():
    asked = "Find what <box>[[10, 20, 300, 400]]</box> shows."
    turns = ({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]},)
    for given in ({"prompt": asked}, {"messages": turns}):
        written = in_format(Example(id="a", images=IMAGE, **given), FORMATS["gemini"])
        text = written.prompt or written.messages[0]["content"][1]["text"]
        assert text == 'Find what [{"box_2d": [20, 10, 400, 300]}] shows.'
    plain = Example(id="a", images=IMAGE, prompt="Which of [1, 2, 3, 4] is it?", reference=Reference(label="1"))
    assert in_format(plain, FORMATS["gemini"]).prompt == plain.prompt, "no boxes are asked for"


SEEN = pixel(1008, 2016)  # of the image as the model sees it: sides in multiples of 28


@pytest.mark.parametrize("name", FORMATS)
def test_the_gold_answer_earns_all_in_the_audit(name):
    examples = [in_format(grounding(k), FORMATS[name], SEEN) for k in range(12)]
    report = audit(parse_reward(REWARD), examples)
    assert report.gold > 0.99
    for example in examples:
        gold = Completion(text=example.answer, box_space=example.box_space)
        assert (gold.parsed_boxes.status, gold.label) == ("ok", "cell")


def test_what_stands_around_boxes_goes_with_the_old_format():
    boxes = "[[100, 200, 300, 400]]"
    truth = Boxes(xyxy=np.array([[100.0, 200.0, 300.0, 400.0]]), space=rel1000)
    for before, behind in (("At <|begin_of_box|>", "<|end_of_box|>."), ("At\n```json\n", "\n```.")):
        answer = f"{before}{boxes}{behind}"
        example = Example(id="a", prompt="?", images=IMAGE, answer=answer, reference=Reference(boxes=truth))
        assert in_format(example, FORMATS["gemini"]).answer == 'At [{"box_2d": [200, 100, 400, 300]}].'
        assert in_format(example, FORMATS["glm_v"]).answer == f"At <|begin_of_box|>{boxes}<|end_of_box|>."


def test_another_format_is_refused_and_the_declared_one_right():
    example = grounding(1)
    other = in_format(example, FORMATS["gemini"])
    wrong = Completion(text=other.answer, box_space=rel1000)
    assert wrong.parsed_boxes.reason == "undeclared_format: box_2d"
    right = Completion(text=other.answer, box_space=other.box_space)
    plain = Completion(text=example.answer)
    assert np.abs(right.boxes.xyxy - plain.boxes.xyxy).max() <= 1
