"""Every field, every fault with its place, and memory that does not grow with the file."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundrl.experiments.data import JsonlSource
from groundrl.experiments.data.formats import jsonl as jsonl_module
from groundrl.experiments.data.formats.jsonl import index_lines
from groundrl.rewards import DataError, pixel, rel1, rel1000
from groundrl.rollout.model.loader import Loader

BOXES = {"xyxy": [[1, 2, 3, 4]], "space": "pixel"}


def test_every_field_is_read(jsonl, picture):
    picture("deep/a.png", 40, 20)
    picture("b.png", 30, 30)
    boxes = {
        "xyxy": [[1, 2, 3, 4], [0, 0, 40, 20.0]],
        "space": "pixel",
        "labels": ["cell", "rod"],
        "scores": [1, 0.5],
        "image": [0, 0],
    }
    source = jsonl(
        {
            "id": "case-1",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "and"}, {"type": "image"}]},
            ],
            "images": ["deep/a.png", {"path": "b.png", "width": 300, "height": 200}],
            "answer": "two",
            "reference": {
                "label": "two",
                "labels": ["cell", "rod"],
                "boxes": boxes,
                "report": "Two cells.",
                "choices": ["one", "two"],
                "site": {"name": "A"},
            },
            "box_space": "rel1",
            "block": "patient-7",
        }
    )
    example = source[0]
    assert (example.id, example.prompt, example.answer, example.block) == ("case-1", None, "two", "patient-7")
    assert [turn["role"] for turn in example.messages] == ["system", "user"]
    assert [(image.source, image.width, image.height) for image in example.images] == [
        (source.path.parent / "deep/a.png", 40, 20),  # from the header
        (source.path.parent / "b.png", 300, 200),  # as stated
    ]
    reference = example.reference
    assert (reference.label, reference.labels, reference.choices) == ("two", ("cell", "rod"), ("one", "two"))
    assert (reference.report, reference["site"]) == ("Two cells.", {"name": "A"})
    assert reference.boxes.xyxy.tolist() == [[1, 2, 3, 4], [0, 0, 40, 20]]
    assert reference.boxes.space == pixel(40.0, 20.0)
    assert (reference.boxes.labels, reference.boxes.scores) == (("cell", "rod"), (1.0, 0.5))
    assert reference.boxes.image == (0, 0)
    assert example.box_space == rel1


def test_a_prompt_alone_is_an_example(jsonl):
    example = jsonl("", {"prompt": "yes or no?", "answer": None, "reference": None})[0]
    assert (example.id, example.prompt, example.messages) == ("data.jsonl:2", "yes or no?", None)
    assert (example.images, example.answer, example.block) == ((), None, None)
    assert example.reference.boxes is None
    assert example.reference.columns == {}
    assert example.box_space == rel1000
    assert jsonl({"id": 17, "prompt": "?"})[0].id == "17"


@pytest.mark.parametrize(
    ("given", "space"),
    [
        ({"space": "rel1000"}, rel1000),
        ({"space": "rel1"}, rel1),
        ({"space": "pixel"}, pixel(40.0, 20.0)),
        ({"space": "pixel", "width": 80, "height": 60.5}, pixel(80.0, 60.5)),
    ],
)
def test_boxes_and_answers_are_in_the_declared_space(jsonl, picture, given, space):
    picture("a.png", 40, 20)
    reference = {"boxes": {"xyxy": [[0, 0, 1, 1]], **given}}
    example = jsonl({"prompt": "?", "images": ["a.png"], "reference": reference, "box_space": given})[0]
    assert example.reference.boxes.space == space
    assert example.box_space == space


def test_no_boxes_and_rounding_at_the_border_are_legal(jsonl):
    def boxes(xyxy):
        return jsonl({"prompt": "?", "reference": {"boxes": {"xyxy": xyxy, "space": "rel1000"}}})[0].reference.boxes

    assert boxes([]).xyxy.shape == (0, 4)
    assert boxes([[-0.05, 0, 1000.09, 5]]).xyxy.tolist() == [[0, 0, 1000, 5]]  # within 1e-4 of the image


def test_a_box_format_is_a_box_space(jsonl):
    example = jsonl({"prompt": "?", "box_space": "gemini"})[0]
    assert (example.box_space.format, example.box_space.width) == ("gemini", 1000.0)
    with pytest.raises(DataError, match="unknown space of box_space: 'gemni'; did you mean 'gemini'"):
        jsonl({"prompt": "?", "box_space": "gemni"})[0]
    with pytest.raises(DataError, match="qwen25_vl is in pixels of the image as the model sees it; set it by model"):
        jsonl({"prompt": "?", "box_space": "qwen25_vl"})[0]


FAULTS = {
    "prompt": [
        ({}, "give exactly one of `prompt`"),
        (
            {"prompt": "a", "messages": [{"role": "user", "content": "a"}]},
            r"exactly one of `prompt` \(a text\) and `messages`",
        ),
        ({"prompt": ["a"]}, r"`prompt` is text, got \['a'\]"),
        ({"prompt": "a", "promt": "b"}, "unknown field 'promt'; did you mean 'prompt'"),
        ({"prompt": "a", "image": "a.png"}, "unknown field 'image'; did you mean 'images'"),
        ({"prompt": "a", "id": ["x"]}, r"example 'data.jsonl:2': `id` is text, got \['x'\]"),
        ({"prompt": "a", "answer": 3}, "`answer` is text, got 3"),
        ({"prompt": "a", "block": 3}, "`block` is text, got 3"),
        ({"prompt": "a", "box_space": "rel100"}, "unknown space of box_space: 'rel100'; did you mean 'rel1000'"),
        ({"prompt": "a", "box_space": 3}, "`box_space` is one of pixel, rel1000, rel1, got 3"),
        ({"prompt": "a", "box_space": "pixel"}, "`box_space` is in pixels, but there is no image"),
    ],
    "messages": [
        ({"messages": "hello"}, "`messages` is a list, got 'hello'"),
        ({"messages": []}, "`messages` is empty"),
        ({"messages": ["hello"]}, r"`messages\[0\]` is an object .* got 'hello'"),
        ({"messages": [{"role": "user", "text": "a"}]}, r"`messages\[0\]` is an object"),
        ({"messages": [{"role": 1, "content": "a"}]}, r"`messages\[0\].role` is text, got 1"),
        ({"messages": [{"role": "usr", "content": "a"}]}, r"role in `messages\[0\]`: 'usr'; did you mean 'user'"),
        ({"messages": [{"role": "user", "content": 1}]}, r"`messages\[0\].content` is a list, got 1"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, r"a part of `messages\[0\].content` is"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}]}]}, "are in `images`"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "a part of"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "a part of .* got 'a'"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "the gold answer goes into `answer`"),
    ],
    "images": [
        ({"images": "a.png"}, "`images` is a list, got 'a.png'"),
        ({"images": [3]}, "an image is a path or {path, width, height}, got 3"),
        ({"images": [{"width": 3}]}, "an image has no path"),
        ({"images": [""]}, "an image has no path"),
        ({"images": [{"path": "a.png", "widht": 3}]}, "unknown key of an image 'widht'; did you mean 'width'"),
        ({"images": ["no.png"]}, "there is no image .*no.png; the path 'no.png' is relative to"),
        ({"images": ["x" * 5000]}, "there is no image"),
        ({"images": ["data.jsonl"]}, "the image .*data.jsonl cannot be read: .*; replace it, or remove the example"),
        ({"images": [{"path": "a.png", "width": 3}]}, "has only one of `width` and `height`"),
        ({"images": [{"path": "a.png", "width": 3.5, "height": 2}]}, "whole pixels, got 3.5 x 2"),
        ({"images": [{"path": "a.png", "width": 0, "height": 2}]}, "needs a positive width and height, got 0 x 2"),
        ({"images": [{"path": "a.png", "width": "3", "height": 2}]}, "width` is a number, got '3'"),
    ],
    "reference": [
        ({"reference": ["yes"]}, r"`reference` is a label or an object .*, got \['yes'\]"),
        ({"reference": {"label": 1}}, "`reference.label` is text, got 1"),
        ({"reference": {"report": 1}}, "`reference.report` is text, got 1"),
        ({"reference": {"labels": "a"}}, "`reference.labels` is a list of texts, got 'a'"),
        ({"reference": {"choices": [1]}}, r"`reference.choices` is a list of texts, got \[1\]"),
        ({"reference": {"boxes": [[1, 2, 3, 4]]}}, "`reference.boxes` is an object"),
    ],
    "boxes": [
        ({"space": None}, '`reference.boxes` is in no declared space; add "space": "pixel", "rel1000" or "rel1"'),
        ({"space": "pixels"}, "unknown space of reference.boxes: 'pixels'; did you mean 'pixel'"),
        ({"xyxy": None}, r"`reference.boxes` has no `xyxy`; write \[\] where there is no box"),
        ({"xyxy": 3}, "`reference.boxes.xyxy` is a list, got 3"),
        ({"xyxy": [1, 2, 3, 4]}, "box 0 of reference.boxes has to be four numbers, got 1"),
        ({"xyxy": [[1, 2, 3]]}, r"box 0 of reference.boxes has to be four numbers, got \[1, 2, 3\]"),
        ({"xyxy": [[1, 2, 3, "4"]]}, "`box 0 of reference.boxes` is a number, got '4'"),
        ({"xyxy": [[1, 2, 3, True]]}, "is a number, got True"),
        ({"xyxy": [[1, 2, 3, 10**400]]}, "`box 0 of reference.boxes` is too large"),
        ({"xyxy": [[1, 2, 3, float("nan")]]}, "box 0 .* is not finite"),
        ({"xyxy": [[1, 2, 3, 4], [3, 2, 1, 4]]}, r"box 1 of reference.boxes, \[3.0, 2.0, 1.0, 4.0\], has no area"),
        ({"xyxy": [[1, 2, 3, 2]]}, "box 0 .* has no area"),
        ({"xyxy": [[1, 2, 41, 4]]}, "box 0 .* lies outside the image, which is 40 x 20 in the space pixel"),
        ({"xyxy": [[-1, 2, 4, 4]]}, "box 0 .* lies outside the image"),
        ({"xyxy": [[1, 2, 4, 21]]}, "box 0 .* lies outside the image"),
        ({"space": "rel1"}, "lies outside the image, which is 1 x 1 in the space rel1"),
        ({"space": "rel1", "width": 2, "height": 2}, "only the space pixel has; remove them"),
        ({"width": 20}, "`reference.boxes` has only one of `width` and `height`; give both or none"),
        ({"label": ["a"]}, "unknown key of reference.boxes 'label'; did you mean 'labels'"),
        ({"labels": ["a", "b"]}, "1 boxes but 2 labels"),
        ({"labels": [1]}, "`reference.boxes.labels` is a list of texts"),
        ({"scores": ["a"]}, "`reference.boxes.scores` is a number, got 'a'"),
        ({"image": [1]}, "`reference.boxes.image` holds 1, but the images are 0 to 0"),
        ({"image": 0}, "`reference.boxes.image` is a list, got 0"),
    ],
}


@pytest.mark.parametrize(
    ("part", "fault", "message"), [(part, *case) for part, cases in FAULTS.items() for case in cases]
)
def test_a_fault_names_the_line_the_example_and_what_is_wrong(jsonl, picture, part, fault, message):
    picture("a.png", 40, 20)
    record = {} if part in ("prompt", "messages") else {"prompt": "?"}
    record |= {"images": ["a.png"], "reference": {"boxes": BOXES | fault}} if part == "boxes" else fault
    name = "data.jsonl:2" if "id" in record else "case-9"
    source = jsonl({"prompt": "sound"}, {"id": "case-9"} | record)
    assert source[0].prompt == "sound"
    with pytest.raises(DataError, match=message) as fault:
        source[1]
    assert str(fault.value).startswith(f"{source.path}:2: example {name!r}: ")


def test_pixels_of_images_of_two_sizes_are_no_single_space(jsonl, picture):
    picture("a.png", 40, 20)
    picture("b.png", 20, 40)

    def read(**more):
        boxes = {"xyxy": [[1, 2, 3, 4]] * 2, "space": "pixel", "image": [0, 1]} | more
        return jsonl({"prompt": "?", "images": ["a.png", "b.png"], "reference": {"boxes": boxes}})[0]

    with pytest.raises(DataError, match="in pixels of images of different sizes; write it in rel1000 or rel1"):
        read()
    assert read(space="rel1000").reference.boxes.image == (0, 1)
    assert read(image=[0, 0]).reference.boxes.space == pixel(40.0, 20.0)
    assert read(width=200, height=200).reference.boxes.space == pixel(200.0, 200.0)  # a stated size is believed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"prompt": "a"', "the line is not JSON .*Expecting.* at column 15.*; write one whole object on each line"),
        (b'"prompt"', "the line is not an object {...} but 'prompt'; write one object on each line"),
        (b'{"prompt": "\xff"}', "byte 12 of the line is not UTF-8; save the file as UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"prompt": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
    ],
)
def test_a_line_that_is_no_json_object(tmp_path, line, message):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "first"}\r\n\r\n' + line + b'\n{"prompt": "last"}')
    source = JsonlSource(path)
    assert [source[0].prompt, source[2].prompt] == ["first", "last"]
    assert source[2].id == "data.jsonl:4"
    with pytest.raises(DataError, match=message) as fault:
        source[1]
    assert str(fault.value).startswith(f"{path}:3: example 'data.jsonl:3': ")


def test_faulty_lines_are_skipped_and_listed_or_stop_the_run(jsonl, picture, vl_policy):
    picture("a.png", 64, 64)
    sound = {"prompt": "How many?", "images": ["a.png"]}
    source = jsonl({"id": "bad"} | sound | {"images": ["gone.png"]}, {"id": "good"} | sound, "{")
    loader = Loader(vl_policy, source, on_error="skip")
    assert [loader[index][0].id for index in range(3)] == ["good"] * 3
    assert sorted(loader.skipped) == [0, 2]
    assert "data.jsonl:1: example 'bad': there is no image" in loader.skipped[0]
    with pytest.raises(DataError, match=r"data.jsonl:3: example 'data.jsonl:3': the line is not JSON"):
        Loader(vl_policy, source)[2]


def test_text_and_any_number_of_images_reach_the_model(jsonl, picture, vl_policy):
    picture("a.png", 64, 64)
    picture("b.png", 32, 64)
    source = jsonl(
        {"prompt": "yes or no?"},
        {"prompt": "How many?", "images": ["a.png"]},
        {"prompt": "<image> or <image>?", "images": ["a.png", "b.png"]},
    )
    # Patches of 8 pixels merged 2 x 2: an image of 64 x 64 takes 16 tokens, one of 32 x 64 takes 8.
    assert [int(Loader(vl_policy, source)[k][1].image_tokens.sum()) for k in range(3)] == [0, 16, 24]


def test_an_empty_file_has_no_examples(jsonl, vl_policy):
    source = jsonl()
    assert len(source) == 0
    assert len(jsonl("", "   ", "\t")) == 0
    with pytest.raises(ValueError, match="the data set has no examples"):
        Loader(vl_policy, source)
    with pytest.raises(IndexError):
        source[0]


def test_a_missing_file_is_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*none.jsonl; a path in a config is relative"):
        JsonlSource(tmp_path / "none.jsonl")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b"\t", b"{}", b'{"a": 1}', b"\x0c"]), max_size=25))
def test_lines_are_where_they_are_whatever_the_chunks(tmp_path, monkeypatch, pieces):
    monkeypatch.setattr(jsonl_module, "CHUNK", 5)
    content, at, expected = b"".join(pieces), 0, []
    (tmp_path / "data.jsonl").write_bytes(content)
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            expected.append((at, number))
        at += len(line) + 1
    offsets, lines = index_lines(tmp_path / "data.jsonl")
    assert list(zip(offsets.tolist(), lines.tolist(), strict=True)) == expected


def test_memory_is_two_numbers_a_line(tmp_path):
    path = tmp_path / "data.jsonl"
    with path.open("w") as file:
        file.writelines(f'{{"id": "e{k}", "prompt": "How many nuclei are there?"}}\n' for k in range(100_000))
    JsonlSource(path)[0]  # whatever is loaded only once
    tracemalloc.start()
    try:
        source = JsonlSource(path)
        indexed = tracemalloc.get_traced_memory()[0]
        assert indexed < 16 * 100_000 + 50_000
        assert all(source[index].id == f"e{index}" for index in range(0, 100_000, 100))
        assert tracemalloc.get_traced_memory()[0] - indexed < 50_000
    finally:
        tracemalloc.stop()


def test_a_source_can_be_sent_to_a_worker(jsonl):
    source = pickle.loads(pickle.dumps(jsonl({"prompt": "a"}, "", {"prompt": "b"})))
    assert len(source) == 2
    assert source[1].prompt == "b"
    assert source.rows.lines.dtype == np.int64
