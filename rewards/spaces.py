"""In which space a model writes its boxes: Qwen2.5-VL in pixels of the resized image, Qwen3-VL in thousandths."""

from __future__ import annotations

import math

from groundrl.rewards.glossary import BoxSpace, pixel, rel1000


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


def qwen25_vl(width: int, height: int, *, min_pixels: int = 56 * 56, max_pixels: int = 28 * 28 * 1280) -> BoxSpace:
    """Qwen2.5-VL: absolute pixels of the image as resized with factor 28, here from the original's size."""
    return pixel(*smart_resize(width, height, factor=28, min_pixels=min_pixels, max_pixels=max_pixels))


def qwen3_vl() -> BoxSpace:
    """Qwen3-VL: thousandths of the image, whatever its resized size (factor 32)."""
    return rel1000
