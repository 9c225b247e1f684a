"""A folder of two pictures with masks, read as a configuration reads it."""

import numpy as np
import pytest
from PIL import Image

from groundrl.experiments.data import load_source
from groundrl.rewards import Completion, DataError, LabelAccuracy, SoftF1, pixel

SPEC = {"images": "pictures", "masks": "masks", "prompt": "Find all cells.", "classes": {1: "cell", 2: "rod"}}


@pytest.fixture
def folder(tmp_path, picture):
    """`pictures/{a.jpg,b.png}` of 40 x 20 and `masks/{a,b}.png`; b shows nothing."""
    picture("pictures/a.jpg")
    picture("pictures/b.png")
    mask = np.zeros((20, 40), dtype=np.uint8)
    mask[2:6, 10:30] = 2
    mask[0:2, 0:4] = 1
    mask[10, 39] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    Image.fromarray(mask * 0).save(tmp_path / "masks" / "b.png")
    return tmp_path


def test_a_picture_and_its_mask_are_an_example(folder):
    source = load_source(SPEC, seed=0, base=folder)
    assert len(source) == 2
    example = source[0]
    assert (example.id, example.block, example.prompt) == ("a", "a", "Find all cells.")
    assert example.images[0].source == folder / "pictures" / "a.jpg"
    assert example.reference.boxes.xyxy.tolist() == [[0, 0, 4, 2], [10, 2, 30, 6], [39, 10, 40, 11]]
    assert example.reference.boxes.labels == ("cell", "rod", "cell")
    assert example.reference.boxes.space == pixel(40.0, 20.0)
    assert example.reference.labels == ("cell", "rod")
    # 4/40 = 100, 2/20 = 100; 10/40 = 250, 30/40 = 750, 6/20 = 300; 39/40 = 975, 10/20 = 500, 11/20 = 550.
    gold = "3 cell, rod <box>[[000, 000, 100, 100], [250, 100, 750, 300], [975, 500, 999, 550]]</box>"
    assert example.answer == gold
    assert SoftF1().score(Completion(text=gold), example).value > 0.98
    assert LabelAccuracy().score(Completion(text=gold), example).value == 1


def test_a_picture_without_objects_is_a_negative(folder):
    assert load_source(SPEC, seed=0, base=folder)[1].answer == "0 objects <box>[]</box>"
    instances = {"name": "cell", "answer": "{count} cells <box>{boxes}</box>"}
    spec = {key: value for key, value in SPEC.items() if key != "classes"} | instances
    source = load_source(spec, seed=0, base=folder)
    assert source[1].answer == "0 cells <box>[]</box>"
    # As an instance mask value 1 is one object, from (0, 0) to (40, 11).
    assert source[0].reference.boxes.xyxy.tolist() == [[0, 0, 40, 11], [10, 2, 30, 6]]


def test_small_objects_do_not_count(folder):
    boxes = load_source(SPEC | {"min_area": 8}, seed=0, base=folder)[0].reference.boxes
    assert boxes.labels == ("cell", "rod")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": None}, "say what the masks hold: either `name`, .* or `classes`"),
        ({"name": "cell"}, "say what the masks hold"),
        ({"classes": {"1": "cell"}}, r"`classes` in `data` gives whole numbers names, such as \{1: cell\}, got"),
        ({"classes": "cell"}, "`classes` in `data` gives whole numbers names"),
        ({"min_area": "8"}, "`min_area` in `data` is a whole number of pixels, got '8'"),
        ({"prompt": 3}, "`prompt` in `data` is text, got 3"),
        ({"maskes": "x"}, "unknown key in `data`: 'maskes'.*masks"),
        ({"answer": "{cout}"}, "unknown field"),
        ({"masks": "mask"}, "there is no folder .*mask; name a folder of pictures"),
        ({"masks": "."}, r"the folder .* holds no .png, .tif"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(folder, change, message):
    with pytest.raises(ValueError, match=message):
        load_source(SPEC | change, seed=0, base=folder)


def test_files_that_do_not_pair_are_refused(folder, picture):
    picture("pictures/c.png")
    with pytest.raises(ValueError, match=r"the picture .*c.png has no mask in .*masks; a mask has the name of its"):
        load_source(SPEC, seed=0, base=folder)
    picture("masks/c.png")
    picture("masks/d.png")
    picture("masks/e.png")
    with pytest.raises(ValueError, match=r"the mask .*d.png has no picture in .*pictures \(nor have 1 others\)"):
        load_source(SPEC, seed=0, base=folder)
    picture("masks/a.bmp")
    with pytest.raises(ValueError, match=r"a.bmp and .*a.png have one name"):
        load_source(SPEC, seed=0, base=folder)


def test_a_fault_of_one_mask_is_raised_when_it_is_asked_for(folder, picture):
    picture("masks/a.png", 39, 20)
    source = load_source(SPEC, seed=0, base=folder)
    assert source[1].id == "b"
    with pytest.raises(DataError, match=r"example 'a': the mask .*a.png is 39 x 20, its picture 40 x 20"):
        source[0]
    picture("masks/a.png")
    with pytest.raises(DataError, match=r"example 'a': the mask .*a.png holds 3, 4, 5, 6, 7, 8, 9, 10 and 240 more"):
        source[0]
