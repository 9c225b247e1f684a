"""Masks small enough to count by hand, written in every format and read back."""

import numpy as np
import pytest
from PIL import Image

from groundrl.experiments.data.formats.masks import (
    class_instances,
    instance_boxes,
    mask_boxes,
    read_mask,
    value_instances,
)
from groundrl.rewards import pixel

# Value 1: an L of 4 pixels and, meeting it at a corner only, 1 more; value 2: one pixel, and a bar of 3.
DRAWN = np.array(
    [
        [1, 0, 0, 0, 0, 2],
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 2, 2, 2],
        [0, 0, 1, 0, 0, 0],
    ]
)


def test_components_of_a_class_are_objects_and_corners_connect():
    found = class_instances(DRAWN, classes={2: "rod", 1: "cell"})
    # Class by class as named: the single 2 comes first in reading order, then the bar, then the only 1.
    assert found.labels.tolist() == [
        [3, 0, 0, 0, 0, 1],
        [3, 0, 0, 0, 0, 0],
        [3, 3, 0, 2, 2, 2],
        [0, 0, 3, 0, 0, 0],
    ]
    assert (found.areas.tolist(), found.names) == ([15, 1, 3, 5], ("rod", "rod", "cell"))
    boxes = found.boxes()
    # Half-open: the far edge of the last pixel. Reading order: by top, then by left.
    assert boxes.xyxy.tolist() == [[0, 0, 3, 4], [5, 0, 6, 1], [3, 2, 6, 3]]
    assert (boxes.labels, boxes.space) == (("cell", "rod", "rod"), pixel(6.0, 4.0))


def test_touching_objects_of_two_classes_stay_two():
    found = class_instances(np.array([[1, 1, 2, 2]]), classes={1: "a", 2: "b"})
    assert (found.labels.tolist(), found.names) == ([[1, 1, 2, 2]], ("a", "b"))


def test_each_value_of_an_instance_mask_is_one_object_in_however_many_pieces():
    found = value_instances(np.where(DRAWN == 2, 700, DRAWN * 5), name="cell")
    assert (found.areas.tolist(), found.names) == ([15, 5, 4], ("cell", "cell"))
    assert found.labels.max() == 2
    assert found.boxes().xyxy.tolist() == [[0, 0, 3, 4], [3, 0, 6, 3]]


def test_what_is_too_small_is_background_and_the_rest_is_numbered_anew():
    found = class_instances(DRAWN, classes={2: "rod", 1: "cell"}, min_area=2)
    assert (found.areas.tolist(), found.names) == ([16, 3, 5], ("rod", "cell"))
    assert found.labels[0].tolist() == [2, 0, 0, 0, 0, 0]
    values = value_instances(DRAWN, name="cell", min_area=5)
    assert (values.areas.tolist(), values.labels.max()) == ([19, 5], 1)


def test_a_class_with_an_empty_name_is_left_out():
    found = class_instances(DRAWN, classes={1: "cell", 2: ""})
    assert (len(found), found.areas.tolist()) == (1, [19, 5])


def test_a_mask_without_objects_has_no_boxes():
    for found in (value_instances(np.zeros((2, 3), dtype=int), name="a"), class_instances(DRAWN * 0, classes={1: "a"})):
        assert (len(found), found.boxes().xyxy.shape, found.boxes().labels) == (0, (0, 4), ())
    everything = value_instances(np.ones((2, 3), dtype=int), name="a")
    assert (everything.boxes().xyxy.tolist(), everything.areas.tolist()) == ([[0, 0, 3, 2]], [0, 6])


def test_boxes_of_equal_corners_keep_the_order_of_their_ids():
    # The boxes of 1 and 2 are the same.
    mask = np.array([[2, 1, 1], [1, 2, 2]])
    assert mask_boxes(mask, [2, 1]).tolist() == [[0, 0, 3, 2], [0, 0, 3, 2]]
    assert instance_boxes(mask, [2, 1], ("a", "b")).labels == ("b", "a")


def test_a_value_without_a_name_is_refused_with_what_was_found():
    message = r"a.png holds 2, which `classes` does not name \(it has 1, 7\); name each value of a class mask, with an"
    with pytest.raises(ValueError, match=message):
        class_instances(DRAWN, classes={1: "cell", 7: "x"}, where="a.png")
    with pytest.raises(ValueError, match="holds 1, 2, 3, 4, 5, 6, 7, 8 and 4 more values, which"):
        class_instances(np.arange(13)[None], classes={})
    with pytest.raises(ValueError, match=r"holds 0xff0000, which `classes` does not name \(it has 255\)"):
        class_instances(np.array([[0xFF0000, 255]]), classes={255: "cell"})


@pytest.mark.parametrize(
    ("dtype", "mode"), [(np.uint8, "L"), (np.uint16, "I;16"), (np.uint8, "P"), (bool, "1"), (np.int32, "I")]
)
def test_every_format_of_whole_numbers_is_read_as_it_is(tmp_path, dtype, mode):
    largest = np.iinfo(dtype).max if dtype is not bool else 1
    values = (DRAWN * (largest // 2) if dtype is not bool else DRAWN > 0).astype(dtype)
    image = Image.fromarray(values)
    if mode == "P":
        image = Image.fromarray(values, mode="L")
        image.putpalette([7] * 768)  # the colours of a palette are all the same and count nothing
    path = tmp_path / ("mask.tif" if mode == "I" else "mask.png")
    image.save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    assert read_mask(path, width=6, height=4).tolist() == values.astype(int).tolist()


def test_each_colour_of_an_rgb_mask_is_a_value(tmp_path):
    colours = np.zeros((1, 4, 3), dtype=np.uint8)
    colours[0, 1:] = [255, 0, 0], [0, 128, 1], [5, 5, 5]
    Image.fromarray(colours).save(tmp_path / "mask.png")
    opaque = np.concatenate([colours, np.full((1, 4, 1), 255, dtype=np.uint8)], axis=2)
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    for name in ("mask.png", "opaque.png"):
        assert read_mask(tmp_path / name, width=4, height=1).tolist() == [[0, 0xFF0000, 0x008001, 0x050505]]


def test_what_loses_values_is_refused_in_a_sentence(tmp_path):
    grey = Image.fromarray(np.zeros((4, 6), dtype=np.uint8))
    faults = {
        "a.jpg": (grey, "a.jpg is a JPEG, which changes values; save it as PNG"),
        "b.png": (grey.convert("LA"), "b.png has the mode LA; save it as grey"),
        "c.tif": (grey.convert("F"), "c.tif has the mode F"),
        "d.png": (grey.convert("RGB").convert("RGBA"), None),
        "e.png": (Image.new("RGBA", (6, 4), (1, 2, 3, 100)), "e.png has the mode RGBA; .* without alpha"),
        "f.png": (grey.resize((4, 6)), "f.png is 4 x 6, its picture 6 x 4; make them equal"),
    }
    for name, (image, message) in faults.items():
        image.save(tmp_path / name)
        if message is not None:
            with pytest.raises(ValueError, match=message):
                read_mask(tmp_path / name, width=6, height=4)
    (tmp_path / "g.png").write_bytes((tmp_path / "d.png").read_bytes()[:45])
    for name in ("g.png", "h.png"):
        with pytest.raises(ValueError, match=f"the mask .*{name} cannot be read: .*; replace it"):
            read_mask(tmp_path / name, width=6, height=4)
