"""True boxes out of JSON: in a declared space, inside their image, with an area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from groundrl.experiments.data.formats.values import array, number, refuse_unknown, shown, size, texts
from groundrl.rewards import FORMATS, Boxes, BoxSpace, ImageRef, pixel, rel1, rel1000

KEYS = ("xyxy", "space", "width", "height", "labels", "scores", "image")
SPACES = ("pixel", "rel1000", "rel1")
ROUNDING = 1e-4  # share of the image by which an annotation tool's rounding may put a box outside; it is cut off


def boxes_from_json(value: object, images: Sequence[ImageRef]) -> Boxes:
    """`{"xyxy": [[x1, y1, x2, y2], ...], "space": "pixel" | "rel1000" | "rel1"}` as boxes.

    For `pixel`, `width` and `height` state the size of the image in which the boxes were drawn (without them, the
    size of the example's first image). `labels`, `scores` and `image` (index) hold one value for each box.
    """
    where = "reference.boxes"
    if not isinstance(value, dict):
        raise ValueError(f'`{where}` is an object {{"xyxy": [...], "space": ...}}, got {shown(value)}')
    refuse_unknown(value, KEYS, f"key of {where}")
    if value.get("xyxy") is None:
        raise ValueError(f"`{where}` has no `xyxy`; write [] where there is no box")
    space = space_from_json(value, images, where)
    rows = array(value["xyxy"], f"{where}.xyxy")
    names = [f"box {k} of {where}" for k in range(len(rows))]
    corners = np.array([four(row, name) for row, name in zip(rows, names, strict=True)], dtype=np.float64)
    scores = value.get("scores")
    return Boxes(
        xyxy=inside_image(corners.reshape(-1, 4), space, names),
        space=space,
        labels=texts(value, "labels", f"{where}.labels"),
        scores=None
        if scores is None
        else tuple(number(s, f"{where}.scores") for s in array(scores, f"{where}.scores")),
        image=_image_index(value, space, images),
    )


def space_from_json(value: object, images: Sequence[ImageRef], where: str) -> BoxSpace:
    """The space that an object declares in `space` (with `width` and `height` for pixels of another size)."""
    if not isinstance(value, Mapping):
        raise ValueError(f"`{where}` is one of {', '.join(SPACES)}, got {shown(value)}")
    if value.get("space") is None:
        raise ValueError(f'`{where}` is in no declared space; add "space": "pixel", "rel1000" or "rel1"')
    refuse_unknown([value["space"]], SPACES, f"space of {where}:")
    stated = size(value, where)
    if value["space"] != "pixel":
        if stated is not None:
            raise ValueError(f"`{where}` has a width and height, which only the space pixel has; remove them")
        return rel1000 if value["space"] == "rel1000" else rel1
    if stated is not None:
        return pixel(*stated)
    if not images:
        raise ValueError(f"`{where}` is in pixels, but there is no image whose size they are in; add width and height")
    return pixel(float(images[0].width), float(images[0].height))


def declared_space(value: object, images: Sequence[ImageRef], where: str = "box_space") -> BoxSpace:
    """The space in which a model writes: a space, the name of a box format, or an object with a space of its own."""
    if not isinstance(value, str):
        return space_from_json(value, images, where)
    refuse_unknown([value], [*SPACES, *FORMATS], f"space of {where}:")
    return FORMATS[value].declared() if value in FORMATS else space_from_json({"space": value}, images, where)


def four(value: object, name: str) -> list[float]:
    """Four numbers."""
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"{name} has to be four numbers, got {shown(value)}")
    return [number(each, name) for each in value]


def inside_image(xyxy: Float[np.ndarray, "N 4"], space: BoxSpace, names: Sequence[str]) -> Float[np.ndarray, "N 4"]:
    """The boxes, cut to the image where they stand out by rounding; ValueError where one lies outside or has no area.

    `names[i]` is what a message calls box `i`.
    """
    limit = np.array([space.width, space.height] * 2)
    wrong = {
        "is not finite": ~np.isfinite(xyxy).all(axis=1),
        "has no area (x1 < x2 and y1 < y2 are needed)": ~(xyxy[:, :2] < xyxy[:, 2:]).all(axis=1),
        f"lies outside the image, which is {space.width:g} x {space.height:g} in the space {space.kind}": (
            (xyxy < -ROUNDING * limit) | (xyxy > (1 + ROUNDING) * limit)
        ).any(axis=1),
    }
    for what, where in wrong.items():
        if where.any():
            first = int(np.argmax(where))
            raise ValueError(f"{names[first]}, {xyxy[first].tolist()}, {what}; correct it or its space")
    clipped: Float[np.ndarray, "N 4"] = np.clip(xyxy, 0, limit)
    return clipped


def _image_index(value: Mapping[str, object], space: BoxSpace, images: Sequence[ImageRef]) -> tuple[int, ...] | None:
    if value.get("image") is None:
        return None
    indices = array(value["image"], "reference.boxes.image")
    for index in indices:
        if type(index) is not int or not 0 <= index < len(images):
            raise ValueError(f"`reference.boxes.image` holds {shown(index)}, but the images are 0 to {len(images) - 1}")
    sizes = {(images[index].width, images[index].height) for index in indices}
    if space.kind == "pixel" and value.get("width") is None and sizes - {(space.width, space.height)}:
        raise ValueError("`reference.boxes` is in pixels of images of different sizes; write it in rel1000 or rel1")
    return tuple(indices)
