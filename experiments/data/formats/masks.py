"""From segmentation masks to objects and their boxes.

Two kinds of masks. An *instance* mask holds one value for each object. A *class* mask holds one value for each class,
and its objects are the connected components of each class; pixels that meet at a corner are connected. 0 is
background in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from groundrl.rewards import Boxes, pixel
from groundrl.rollout.io.pictures import damage_as_os_error

MIN_VISIBLE = 0.5  # an object cut by the border counts when at least this share of its pixels is visible
CONNECTED = np.ones((3, 3), dtype=np.int64)  # each pixel touches its eight neighbours
WHOLE = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")  # modes of Pillow that hold one whole number a pixel
LISTED = 8  # values that a message lists


@dataclass(frozen=True, kw_only=True)
class Instances:
    """N objects of a picture: `labels` holds 1..N where they are and 0 elsewhere.

    `areas[i]` are the pixels of object `i` (of the background, for 0), `names[i - 1]` is its class.
    """

    labels: Int[np.ndarray, "h w"]
    areas: Int[np.ndarray, "ids"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def boxes(self) -> Boxes:
        """The tight box of every object, with its class, in pixels and in reading order."""
        return instance_boxes(self.labels, list(range(1, len(self) + 1)), self.names)

    def in_pieces(self) -> int:
        """How many objects are in more than one connected piece: many, where a class mask is read as instances."""
        from scipy.ndimage import find_objects, label

        found = enumerate(find_objects(self.labels), start=1)
        return sum(label(self.labels[index] == id, structure=CONNECTED)[1] > 1 for id, index in found)


def read_mask(path: Path, *, width: int, height: int) -> Int[np.ndarray, "h w"]:
    """The values of a mask file for a picture of `width` x `height` pixels.

    One whole number a pixel: bits, 8, 16 or 32 bits of grey, or a palette (its indices count, not its colours). In an
    RGB file each colour is a value, `0xRRGGBB`. ValueError for another size, and for what loses values: JPEG,
    transparency, real numbers.
    """
    try:
        with damage_as_os_error():
            image = Image.open(path)
        with image:
            if image.format == "JPEG":
                raise ValueError(f"the mask {path} is a JPEG, which changes values; save it as PNG")
            if image.size != (width, height):
                wide, high = image.size
                raise ValueError(f"the mask {path} is {wide} x {high}, its picture {width} x {height}; make them equal")
            with damage_as_os_error():
                mode, values = image.mode, np.asarray(image)
    except OSError as error:
        raise ValueError(f"the mask {path} cannot be read: {error}; replace it") from None
    if mode in WHOLE:
        return values.astype(np.int64)
    if mode == "RGBA" and (values[..., 3] == 255).all():
        mode, values = "RGB", values[..., :3]
    if mode != "RGB":
        raise ValueError(f"the mask {path} has the mode {mode}; save it as grey, palette or RGB without alpha")
    red, green, blue = np.moveaxis(values.astype(np.int64), -1, 0)
    colours: Int[np.ndarray, "h w"] = (red << 16) | (green << 8) | blue
    return colours


def value_instances(mask: Int[np.ndarray, "h w"], *, name: str, min_area: int = 1) -> Instances:
    """The objects of an instance mask, all of the class `name`: one a value, be it in one piece or in several.

    Those of fewer than `min_area` pixels become background; the rest is numbered in the order of the values.
    """
    values, index = np.unique(mask, return_inverse=True)
    numbers = np.cumsum(values != 0) * (values != 0)  # 0 stays 0, the others become 1, 2, ...
    return _compact(numbers[index].reshape(mask.shape), [name] * int((values != 0).sum()), min_area)


def class_instances(
    mask: Int[np.ndarray, "h w"], *, classes: Mapping[int, str], min_area: int = 1, where: str = "the mask"
) -> Instances:
    """The objects of a class mask: the connected components of each value, with the name that `classes` gives it.

    A value with an empty name is left out (a border, "unclear"). Components of fewer than `min_area` pixels become
    background; the rest is numbered class by class, within a class in reading order. ValueError, with the values
    found, where the mask holds a value that `classes` does not have.
    """
    from scipy.ndimage import label

    unnamed = [int(value) for value in np.unique(mask) if value != 0 and value not in classes]
    if unnamed:
        more = f" and {len(unnamed) - LISTED} more values" if len(unnamed) > LISTED else ""
        raise ValueError(
            f"{where} holds {_written(unnamed[:LISTED])}{more}, which `classes` does not name (it has "
            f"{_written(classes)}); name each value of a class mask, with an empty name to leave it out"
        )
    numbered = np.zeros(mask.shape, dtype=np.int64)
    names: list[str] = []
    for value, name in classes.items():
        if name and value != 0:
            pieces, count = label(mask == value, structure=CONNECTED)
            numbered[pieces > 0] = pieces[pieces > 0] + len(names)
            names += [name] * count
    return _compact(numbered, names, min_area)


def visible_objects(mask: Int[np.ndarray, "h w"], full_areas: Int[np.ndarray, "ids"]) -> list[int]:
    """The ids of the objects in a cut-out of an instance mask of which at least half is visible.

    `full_areas[id]` is the object's area in pixels before the cut.
    """
    areas = np.bincount(mask.ravel(), minlength=len(full_areas))
    return [int(i) for i in np.flatnonzero(areas) if i != 0 and areas[i] >= MIN_VISIBLE * full_areas[i]]


def mask_boxes(mask: Int[np.ndarray, "h w"], ids: list[int]) -> Float[np.ndarray, "N 4"]:
    """The tight boxes of these ids in reading order; continuous pixels, so the last pixel's far edge is x2."""
    return _in_reading_order(mask, ids)[0]


def instance_boxes(labels: Int[np.ndarray, "h w"], ids: list[int], names: tuple[str, ...]) -> Boxes:
    """`mask_boxes` of a picture or a cut-out, with the space they are in and each one's class `names[id - 1]`."""
    xyxy, order = _in_reading_order(labels, ids)
    height, width = labels.shape
    space = pixel(float(width), float(height))
    return Boxes(xyxy=xyxy, space=space, labels=tuple(names[id - 1] for id in order))


def _in_reading_order(mask: Int[np.ndarray, "h w"], ids: list[int]) -> tuple[Float[np.ndarray, "N 4"], list[int]]:
    from scipy.ndimage import find_objects  # a tenth of a second to import

    found = find_objects(mask, max_label=max(ids, default=1))
    order = sorted(ids, key=lambda id: (found[id - 1][0].start, found[id - 1][1].start))
    corners = [(x.start, y.start, x.stop, y.stop) for y, x in (found[id - 1] for id in order)]
    return np.array(corners, dtype=np.float64).reshape(-1, 4), order


def _compact(numbered: Int[np.ndarray, "h w"], names: list[str], min_area: int) -> Instances:
    """Drop what is too small and number the rest anew."""
    areas = np.bincount(numbered.ravel(), minlength=len(names) + 1)
    kept = areas >= min_area
    kept[0] = False
    fresh = np.where(kept, np.cumsum(kept), 0)
    areas = np.concatenate([[areas[~kept].sum()], areas[kept]])
    left = tuple(name for name, keep in zip(names, kept[1:], strict=True) if keep)
    return Instances(labels=fresh[numbered], areas=areas, names=left)


def _written(values: Iterable[int]) -> str:
    """Values as in a message; beyond 16 bits they are colours."""
    return ", ".join(str(value) if value < 1 << 16 else f"0x{value:06x}" for value in values)
