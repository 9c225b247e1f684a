"""Thumbnails of examples' images as data: links, each stored once."""

from __future__ import annotations

import base64
import hashlib
import io

import numpy as np
from PIL import Image

from groundrl.experiments.drawing.brightness import brightened
from groundrl.rewards import Example, ImageRef
from groundrl.rollout.io.pictures import open_image

SIDE = 384  # pixels of the longer side at most
EXACT = 128  # up to this size pixel by pixel, beyond as JPEG


class Pictures:
    """Image name -> data: link, made when first asked for."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def names(self, example: Example) -> list[str]:
        """The names of an example's images in `data`, in order."""
        return [self._name(image, example.id) for image in example.images]

    def size(self, example: Example) -> int:
        """How many bytes the example's images take in the page."""
        return sum(len(self.data[name]) for name in self.names(example))

    def _name(self, image: ImageRef, id: str) -> str:
        source = image.source if isinstance(image.source, bytes) else str(image.source).encode()
        key = hashlib.sha256(source).hexdigest()[:16]
        if key not in self._known:
            picture = open_image(image, id)
            array = (brightened(picture) * 255).astype(np.uint8)
            self.data[key] = _as_link(Image.fromarray(array))
            self._known[key] = key
        return key


def _as_link(picture: Image.Image) -> str:
    picture.thumbnail((SIDE, SIDE))
    exact = max(picture.size) <= EXACT
    buffer = io.BytesIO()
    if exact:
        picture.save(buffer, format="png", optimize=True)
    else:
        picture.convert("RGB").save(buffer, format="jpeg", quality=82)
    kind = "png" if exact else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
