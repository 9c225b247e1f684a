"""Conversations as VLM-R1, Qwen and sharegpt write them; boxes in a declared space, made thousandths."""

import json

import pytest

from groundrl.experiments.data import load_source
from groundrl.experiments.data.formats.stated_boxes import boxes_in, in_thousandths
from groundrl.rewards import Completion, DataError, pixel, rel1000


@pytest.fixture
def talk(tmp_path):
    """`talk(row, ..., space=...)`: the source of a file with these rows."""

    def open_rows(*rows, **data):
        (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_source({"read": "conversations", "path": "t.jsonl", **data}, seed=0, base=tmp_path)

    return open_rows


def turns(*texts):
    return [{"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(texts)]


def test_medsg_speaks_in_box_tokens_over_several_turns(talk, picture):
    picture("a.png", 200, 400)
    picture("b.png", 200, 400)
    asked = (
        "<image>\n<image>\nFind <|object_ref_start|>it<|object_ref_end|> of <|box_start|>(20,40),(40,80)<|box_end|>."
    )
    told = "It's in the second image. <|box_start|>(50,100),(100,200)<|box_end|>"
    row = {
        "id": 9,
        "task": "referring",
        "images": ["a.png", "b.png"],
        "conversations": turns(asked, "Ok.", "So?", told),
    }
    example = talk(row, space="pixel")[0]
    # x in 200 pixels is fivefold in thousandths, y in 400 two and a half.
    assert example.answer == "It's in the second image. <|box_start|>(250,250),(500,500)<|box_end|>"
    assert example.messages[0] == {"role": "user", "content": asked.replace("(20,40),(40,80)", "(100,100),(200,200)")}
    assert [turn["role"] for turn in example.messages] == ["user", "assistant", "user"]
    assert example.reference.boxes.space == pixel(200.0, 400.0)
    assert example.reference.boxes.xyxy.tolist() == [[50, 100, 100, 200]]
    assert (example.id, example.reference["source_task"], example.reference["task"]) == (
        "t/9",
        "referring",
        "grounding",
    )
    assert Completion(text=example.answer).boxes.to(pixel(200.0, 400.0)).xyxy.tolist() == [[50, 100, 100, 200]]


def test_vlm_r1_has_one_image_and_turns_without_roles(talk, picture):
    picture("i/a.png", 100, 100)
    told = '```json\n[{"bbox_2d": [10, 20, 30, 40], "label": "7 nuclei"}]\n```'
    row = {
        "image": "a.png",
        "conversations": [{"value": "<image>Find it."}, {"value": told}],
        "accu_reward_method": "x",
    }
    example = talk(row, images="i", space="pixel")[0]
    assert example.prompt == "<image>Find it."
    assert example.answer == '```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "7 nuclei"}]\n```'
    assert (example.reference.boxes.labels, example.reference.labels) == (("7 nuclei",), ("7 nuclei",))
    assert (example.block, example.reference["accu_reward_method"]) == ("a.png", "x")


def test_messages_and_thousandths_stay_as_they_are(talk, picture):
    picture("a.png")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where? As [x1, y1, x2, y2]."},
        {"role": "assistant", "content": "[1, 2, 3, 1000]"},
    ]
    example = talk({"images": ["a.png"], "messages": messages}, space="rel1000")[0]
    assert (example.answer, example.messages) == ("[1, 2, 3, 1000]", tuple(messages[:2]))
    assert example.reference.boxes.space == rel1000


def test_without_boxes_it_is_a_question(talk, picture):
    picture("a.png")
    rows = [
        {"image": "a.png", "conversations": turns("Is it?", "Yes.")},
        {"image": "a.png", "conversations": turns("What?", "A cyst.")},
        {"conversations": turns("Why?", "So.")},
    ]
    examples = list(talk(*rows))
    assert [each.reference["task"] for each in examples] == ["closed_vqa", "open_vqa", "text_qa"]
    assert [each.answer for each in examples] == ["yes", "A cyst.", "So."]


def test_faults_are_named(talk, picture):
    picture("a.png", 10, 10)
    picture("b.png", 20, 10)
    boxed = turns("Where?", "<box>[[1, 2, 3, 4]]</box>")
    cases = [
        ({"image": "a.png", "conversations": boxed}, {}, "it has boxes in no declared space; add `space: pixel`"),
        ({"images": ["a.png", "b.png"], "conversations": boxed}, {"space": "pixel"}, "images of different sizes"),
        ({"image": "c.png", "conversations": boxed}, {"space": "pixel"}, "there is no image .*c.png"),
        ({"image": "a.png", "conversations": turns("<image><image>", "x")}, {}, "1 image.s. but 2 <image> marks"),
        ({"conversations": turns("Hi")}, {}, "ends in no question and answer"),
        ({"conversations": [{"from": "robot", "value": "x"}]}, {}, "turn 0 of `conversations` is .*human"),
        ({"conversations": [{"from": ["human"], "value": "x"}]}, {}, "turn 0 of `conversations`"),
        ({"conversations": turns("Hi", 3)}, {}, "turn 1 of `conversations`"),
        (
            {"image": "a.png", "conversations": turns("?", "<box>[[1, 2")},
            {"space": "pixel"},
            "cannot be read .truncated.",
        ),
    ]
    for row, data, message in cases:
        with pytest.raises(DataError, match=rf"t.jsonl:1: example 't/0': .*{message}"):
            talk(row, **data)[0]


def test_another_file_and_keys_that_do_not_belong_are_refused(talk, tmp_path):
    with pytest.raises(ValueError, match=r"holds no conversations; expected: conversations or messages; found: text"):
        talk({"text": "x"})
    for data, message in {
        ("template", "letter"): "`template` in `data` is not for read: 'conversations'",
        ("space", "pixels"): "unknown space in `data`: 'pixels'; did you mean 'pixel'",
    }.items():
        with pytest.raises(ValueError, match=message):
            talk({"conversations": turns("a", "b")}, **dict([data]))
    spec = {"read": "medqa", "path": "t.jsonl"}
    for more, message in [
        ({"space": "pixel"}, "`space` in `data` is not for read: 'medqa'"),
        ({"pth": "x"}, "unknown key in `data`: 'pth'; did you mean 'path'"),
        ({"images": "none"}, "there is no folder .*none, which `images`"),
        ({"where": "x"}, "`where` in `data` is {column: value}"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_source({**spec, **more}, seed=0, base=tmp_path)
    with pytest.raises(ValueError, match="`data` has no `path` for `read`"):
        load_source({"read": "medqa"}, seed=0, base=tmp_path)


def test_the_numbers_change_and_the_text_does_not():
    space = pixel(10.0, 10.0)
    for text, expected in {
        "2 cells <box>[[1, 2, 3, 4], [0.5, 0, 10, 10]]</box>, 1 rod <box>[[1, 1, 2, 2]]</box> in 7": (
            "2 cells <box>[[100, 200, 300, 400], [50, 0, 999, 999]]</box>, 1 rod <box>[[100, 100, 200, 200]]</box> in 7"
        ),
        "3 at [1, 2, 3, 4].": "3 at [100, 200, 300, 400].",
        '{"bbox_2d": [1, 2, 3, 4], "label": "1"}': '{"bbox_2d": [100, 200, 300, 400], "label": "1"}',
        "none: []": "none: []",
    }.items():
        boxes = boxes_in(text, space)
        assert in_thousandths(text, boxes) == expected
    assert boxes_in("no box", space) is None
    assert boxes_in("as [x1, y1]", space, prompt=True) is None
