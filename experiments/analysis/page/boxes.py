"""Boxes as the page draws them."""

from __future__ import annotations

import numpy as np

from groundrl.rewards import Boxes, Example


def box_entries(boxes: Boxes | None, example: Example) -> list[list[float]] | None:
    """`[x1, y1, x2, y2, image]` each, in shares of the image's width and height; None where there are none to read."""
    if boxes is None or not example.images:
        return None
    shares = np.round(boxes.xyxy / ([boxes.space.width, boxes.space.height] * 2), 4)
    return [[*own, image] for own, image in zip(shares.tolist(), boxes.image or (0,) * len(boxes), strict=True)]
