"""A COCO file made by hand, its golden answers derived in comments, and each fault with its annotation."""

import json

import pytest

from groundrl.experiments.data import CocoSource
from groundrl.rewards import Completion, DataError, LabelAccuracy, SoftF1, pixel, rel1000
from groundrl.rollout.model.loader import Loader

CATEGORIES = [{"id": 1, "name": "cell"}, {"id": 7, "name": "rod", "supercategory": "cell"}]
IMAGES = [
    {"id": 10, "file_name": "a.png", "width": 200, "height": 100, "license": 3},
    {"id": 11, "file_name": "b.png"},
]
ANNOTATIONS = [
    # Lower on the image than the next, so it comes second in reading order.
    {"id": 1, "image_id": 10, "category_id": 7, "bbox": [20, 50, 30, 25], "iscrowd": 0, "segmentation": [[1, 2]]},
    {"id": 2, "image_id": 10, "category_id": 1, "bbox": [100.5, 0, 99.5, 40], "area": 3.0},
    {"id": 3, "image_id": 10, "category_id": 1, "bbox": [0, 0, 200, 100], "iscrowd": 1, "segmentation": {"size": [1]}},
]


@pytest.fixture
def coco(tmp_path, picture):
    """`coco(images=..., annotations=..., categories=..., answer=...)` writes a file and opens it."""
    picture("pictures/a.png", 200, 100)
    picture("pictures/b.png", 40, 20)

    def write(*, images=IMAGES, annotations=ANNOTATIONS, categories=CATEGORIES, **options):
        path = tmp_path / "instances.json"
        path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
        return CocoSource(path, images=tmp_path / "pictures", prompt="Find all cells.", **options)

    return write


def test_an_image_is_an_example(coco, tmp_path):
    source = coco()
    assert len(source) == 2
    example = source[0]
    assert (example.id, example.block, example.prompt) == ("instances/10", "a.png", "Find all cells.")
    (image,) = example.images
    assert (image.source, image.width, image.height) == (tmp_path / "pictures" / "a.png", 200, 100)
    # xywh to corners: 100.5 + 99.5 = 200, 0 + 40; 20 + 30 = 50, 50 + 25 = 75. The crowd (3) is left out.
    assert example.reference.boxes.xyxy.tolist() == [[100.5, 0, 200, 40], [20, 50, 50, 75]]
    assert example.reference.boxes.space == pixel(200.0, 100.0)
    assert example.reference.boxes.labels == ("cell", "rod")
    assert example.reference.labels == ("cell", "rod")
    assert example.box_space == rel1000
    # 100.5/200 = 502.5, which rounds to the even 502; 200/200 is written 999; 40/100 = 400. 20/200 = 100, and so on.
    assert example.answer == "2 cell, rod <box>[[502, 000, 999, 400], [100, 500, 250, 750]]</box>"
    assert example.reference.label == "2 cell, rod"


def test_an_image_without_annotations_is_a_negative(coco):
    negative = coco()[1]
    assert (negative.answer, negative.reference.labels) == ("0 objects <box>[]</box>", ())
    assert negative.reference.boxes.xyxy.shape == (0, 4)
    assert (negative.images[0].width, negative.images[0].height) == (40, 20)  # from the header
    assert coco(categories=CATEGORIES[:1], annotations=[])[1].answer == "0 cell <box>[]</box>"


@pytest.mark.parametrize(
    ("template", "answer", "label"),
    [
        ("{boxes}", "[[502, 000, 999, 400], [100, 500, 250, 750]]", ""),
        ("{count:02d}", "02", "02"),
        ("There are {count} <box>{boxes}</box>.", None, "There are 2 ."),
        ("<think>{{so}}</think>{label}", "<think>{so}</think>cell, rod", "cell, rod"),
        (
            "{objects}",
            '[{"bbox_2d": [502, 0, 999, 400], "label": "cell"}, {"bbox_2d": [100, 500, 250, 750], "label": "rod"}]',
            "cell, rod",
        ),
    ],
)
def test_a_template_writes_the_gold_answer(coco, template, answer, label):
    example = coco(answer=template)[0]
    assert answer in (None, example.answer)
    assert example.reference.label == label
    if "objects" in template:
        assert Completion(text=example.answer).boxes.labels == ("cell", "rod")


@pytest.mark.parametrize("template", ["{count} {label} <box>{boxes}</box>", "{label}: {objects}"])
def test_the_gold_answer_satisfies_its_rewards(coco, template):
    source = coco(answer=template)
    for example in (source[0], source[1]):
        gold = Completion(text=example.answer)
        assert LabelAccuracy().score(gold, example).value == 1
        assert SoftF1().score(gold, example).value > 0.98


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{cout}", r"unknown field \{cout\}; valid are \{count\}, \{label\}, \{boxes\}, \{objects\}"),
        ("{}", r"unknown field \{\}"),
        ("{label.__class__}", r"unknown field \{label.__class__\}"),
        ("{boxes[0]}", "unknown field"),
        ('{"count": {count}}', "unknown field"),
        ("{count", "is broken: .*; write a brace as {{ or }}"),
        ("{label:d}", "cannot be filled: Unknown format code"),
        ("", r"gives no readable answer \(no_answer\)"),
        ("<think>{count}", r"gives no readable answer \(truncated\)"),
        ("{boxes} and {boxes}", "boxes of the answer template .* cannot be read; write <box>{boxes}</box>"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_at_once(coco, template, message):
    with pytest.raises(ValueError, match=message):
        coco(answer=template)


def annotation(**changes):
    return [ANNOTATIONS[1], {"id": 77, "image_id": 10, "category_id": 1, "bbox": [1, 1, 5, 5]} | changes]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"annotations": annotation(bbox=[1, 1, -5, 5])}, "bbox of annotation 77 .* has no area"),
        ({"annotations": annotation(bbox=[1, 1, 0, 5])}, "bbox of annotation 77 .* has no area"),
        ({"annotations": annotation(bbox=[1, 1, 200, 5])}, r"annotation 77 .*\[1.0, 1.0, 201.0, 6.0\], lies outside"),
        (
            {"annotations": annotation(bbox=[-1, 1, 5, 5])},
            "annotation 77 .* lies outside the image, which is 200 x 100",
        ),
        ({"annotations": annotation(bbox=[1, 1, 5])}, "the bbox of annotation 77 has to be four numbers"),
        ({"annotations": annotation(bbox=None)}, "the bbox of annotation 77 has to be four numbers, got None"),
        ({"annotations": annotation(bbox=[1, 1, 5, "5"])}, "annotation 77` is a number, got '5'"),
        ({"annotations": annotation(category_id=2)}, "annotation 77 has the category 2, which is not in `categories`"),
        ({"annotations": annotation(category_id=[2])}, r"annotation 77 has the category \[2\]"),
        ({"images": [{"id": 10}]}, "the image has no `file_name` but None; add it"),
        ({"images": [{"id": 10, "file_name": "c.png"}]}, "there is no image .*c.png"),
    ],
)
def test_a_fault_of_one_image_is_raised_when_it_is_asked_for(coco, fault, message):
    source = coco(**fault)
    with pytest.raises(DataError, match=message) as error:
        source[0]
    assert str(error.value).startswith(f"{source.path}: example 'instances/10': ")


def test_a_faulty_image_is_skipped_and_listed(coco, vl_policy):
    loader = Loader(vl_policy, coco(annotations=annotation(bbox=[1, 1, -5, 5])), on_error="skip")
    assert loader[0][0].id == "instances/11"
    assert "annotation 77" in loader.skipped[0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"annotations": annotation(image_id=99)}, "annotation 77 is of image 99, which is not listed; remove it"),
        ({"annotations": annotation(image_id=None)}, "annotation 77 is of image None"),
        ({"annotations": {}}, "is no COCO instances file: it has no list 'annotations' of objects"),
        ({"images": [1]}, "it has no list 'images' of objects; expected: images, annotations, categories; found: "),
        ({"images": [IMAGES[0], IMAGES[0]]}, "each of the 2 images needs an `id` of its own"),
        ({"images": [{"file_name": "a.png"}]}, "each of the 1 images needs an `id` of its own"),
        ({"categories": [{"id": 1}]}, r"each of `categories` needs an `id` and a `name`, got \{'id': 1\}"),
    ],
)
def test_a_fault_of_the_file_is_raised_at_once(coco, fault, message):
    with pytest.raises(ValueError, match=message):
        coco(**fault)


def test_what_is_no_json_and_no_file_is_refused(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match="there is no file"):
        CocoSource(path, images=tmp_path, prompt="?")
    for content, message in [(b"{", "is not JSON"), (b"\xff", "is not JSON"), (b"[]", "is no COCO instances file")]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            CocoSource(path, images=tmp_path, prompt="?")


def test_segmentations_are_not_kept(coco):
    source = coco()
    assert set(source.annotations[10][0]) == {"id", "image_id", "category_id", "bbox", "iscrowd"}
    with pytest.raises(IndexError):
        source[2]
