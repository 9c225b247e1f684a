"""An image of an example, out of JSON: its path, and its size from the file's header where it is not stated."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from groundrl.experiments.data.formats.values import refuse_unknown, shown, size, text
from groundrl.rewards import ImageRef
from groundrl.rollout.io.pictures import damage_as_os_error


def image_from_json(value: object, folder: Path) -> ImageRef:
    """The image of a path, or of `{path, width, height}`; paths are relative to `folder`.

    A stated size is believed: annotations may be in pixels of an original of which the file is a smaller copy.
    """
    entry = {"path": value} if isinstance(value, str) else value
    if not isinstance(entry, dict):
        raise ValueError(f"an image is a path or {{path, width, height}}, got {shown(value)}")
    refuse_unknown(entry, ("path", "width", "height"), "key of an image")
    name = text(entry, "path", "images.path")
    if not name:
        raise ValueError(f"an image has no path: {shown(value)}")
    path = folder / name
    if not os.path.isfile(path):  # unlike Path.is_file, False rather than an error for a name that is too long
        raise ValueError(f"there is no image {path}; the path {shown(name)} is relative to {folder}")
    stated = size(entry, f"image {name}")
    width, height = stated or header_size(path)
    if width != int(width) or height != int(height):
        raise ValueError(f"the width and height of image {name} are whole pixels, got {width} x {height}")
    return ImageRef(source=path, width=int(width), height=int(height))


def header_size(path: Path) -> tuple[int, int]:
    """`(width, height)` in pixels as stored, read without decoding the picture."""
    try:
        with damage_as_os_error(), Image.open(path) as image:
            return image.size
    except OSError as error:
        raise ValueError(f"the image {path} cannot be read: {error}; replace it, or remove the example") from None
