"""Boxes, and the space in which they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxSpace:
    """The space in which coordinates are written; always declared, never guessed from their magnitude.

    Make one with `pixel(width, height)`, or use `rel1000` (0..1000 across the image) or `rel1` (0..1). `format` is the
    declared form of the text, a name in `formats.FORMATS`; it says nothing about boxes that are numbers already.
    """

    kind: Literal["pixel", "rel1000", "rel1", "rel999", "rel1024"]
    width: float
    height: float
    format: str = "medmo"

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.height > 0):
            raise ValueError(f"a box space needs a positive width and height, got {self.width} x {self.height}")


def pixel(width: float, height: float) -> BoxSpace:
    """Pixels of an image of this size (of the original, or of the resized image that the model saw)."""
    return BoxSpace(kind="pixel", width=width, height=height)


rel1000 = BoxSpace(kind="rel1000", width=1000.0, height=1000.0)
rel999 = BoxSpace(kind="rel999", width=999.0, height=999.0)
rel1024 = BoxSpace(kind="rel1024", width=1024.0, height=1024.0)
rel1 = BoxSpace(kind="rel1", width=1.0, height=1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """N boxes `(x1, y1, x2, y2)` with the space in which they are written.

    `xyxy` is finite; it may be inverted or out of range, because a model's output may be: such boxes are kept and
    match nothing. `image` is the index of the example's image to which each box belongs (all 0 when absent).
    """

    xyxy: Float[np.ndarray, "N 4"]
    space: BoxSpace
    labels: tuple[str, ...] | None = None
    scores: tuple[float, ...] | None = None
    image: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        xyxy = np.asarray(self.xyxy, dtype=np.float64).reshape(-1, 4)
        # the sum of squares first, at a fifth of the time; it may also overflow
        if not math.isfinite(np.vdot(xyxy, xyxy)) and not np.isfinite(xyxy).all():
            raise ValueError(f"boxes must be finite numbers, got {xyxy[~np.isfinite(xyxy).all(axis=1)][0].tolist()}")
        for name in ("labels", "scores", "image"):
            column = getattr(self, name)
            if column is not None and len(column) != len(xyxy):
                raise ValueError(f"{len(xyxy)} boxes but {len(column)} {name}")
        object.__setattr__(self, "xyxy", xyxy)

    def __len__(self) -> int:
        return len(self.xyxy)

    def to(self, space: BoxSpace) -> Boxes:
        """The same boxes written in another space of the same image."""
        scale = np.array([space.width / self.space.width, space.height / self.space.height] * 2)
        return Boxes(xyxy=self.xyxy * scale, space=space, labels=self.labels, scores=self.scores, image=self.image)


def smart_resize(width: int, height: int, *, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """The `(width, height)` to which Qwen's image processor resizes: multiples of `factor`, the area within bounds.

    As `smart_resize` in transformers' `image_processing_qwen2_vl.py`. ValueError for an aspect ratio above 200.
    """
    if max(width, height) > 200 * min(width, height):
        raise ValueError(f"an image of {width} x {height} is too long: Qwen refuses an aspect ratio above 200")
    wide, high = round(width / factor) * factor, round(height / factor) * factor
    if wide * high > max_pixels:
        scale = math.sqrt(width * height / max_pixels)
        wide, high = (max(factor, math.floor(side / scale / factor) * factor) for side in (width, height))
    elif wide * high < min_pixels:
        scale = math.sqrt(min_pixels / (width * height))
        wide, high = (math.ceil(side * scale / factor) * factor for side in (width, height))
    return wide, high
