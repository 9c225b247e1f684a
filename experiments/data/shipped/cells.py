"""`cells/rendered`: synthetic microscopy in any volume, made from an index alone.

Round nuclei, rods, touching pairs and mitotic figures under blur, noise and uneven light. It resembles fluorescence
microscopy about as much as cheap synthetic data usually does; nothing in it is copied from a real image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from groundrl.experiments.data.formats.masks import visible_objects
from groundrl.experiments.data.shipped.scene import Scene, grounding_example, scene_of
from groundrl.rewards import Example

SIZE = 64  # pixels
MARGIN = 24  # around the picture, so that objects may be cut by its border
COUNTS = 5  # 0 to 4 objects, in equal shares
KINDS = ("nucleus", "rod", "mitotic")  # drawn with probabilities 0.7, 0.15, 0.15
SHAPES = {  # long semi-axis from, to (pixels); short axis from, to (share of the long one)
    "nucleus": (7.0, 17.0, 0.5, 1.0),
    "rod": (8.0, 18.0, 0.18, 0.4),
    "mitotic": (4.0, 9.0, 0.25, 0.6),
}


class RenderedCells:
    """Rendered scenes 0, 1, 2, ...; scene `i` depends on `(seed, i)` alone and shows `i % 5` cells.

    `task` makes the example of a scene: `grounding_example` or `report_example`.
    """

    def __init__(
        self, *, seed: int = 0, length: int = 1_000_000, task: Callable[[Scene], Example] = grounding_example
    ) -> None:
        self.seed = seed
        self.length = length
        self.task = task

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.length:
            raise IndexError(index)
        rng = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        mask, kinds, areas = _place(rng, index % COUNTS)
        inner = slice(MARGIN, MARGIN + SIZE)
        name = f"cells/rendered/{self.seed}/{index}"
        scene = scene_of(
            id=name,
            picture=_light(rng, mask, kinds),
            mask=mask[inner, inner],
            full_areas=areas,
            mitotic={number for number, kind in enumerate(kinds, start=1) if kind == "mitotic"},
            block=name,
        )
        return self.task(scene)


def _place(rng: np.random.Generator, count: int) -> tuple[Int[np.ndarray, "h w"], list[str], Int[np.ndarray, "ids"]]:
    """An instance mask on the canvas with exactly `count` objects of which at least half is in the picture.

    Returns the mask, the kind of object 1, 2, ... and each id's full area. Some scenes have one more object, cut by
    the border so that it does not count.
    """
    inner = slice(MARGIN, MARGIN + SIZE)
    while True:
        mask = np.zeros((SIZE + 2 * MARGIN,) * 2, dtype=np.int64)
        kinds: list[str] = []
        extra = int(rng.random() < 0.3)
        while True:
            areas = np.bincount(mask.ravel(), minlength=len(kinds) + 1)
            visible = len(visible_objects(mask[inner, inner], areas))
            if visible == count and extra:
                extra = 0
            elif visible >= count:
                break
            _add_object(rng, mask, kinds)
        if visible == count:
            return mask, kinds, areas


def _add_object(rng: np.random.Generator, mask: Int[np.ndarray, "h w"], kinds: list[str]) -> None:
    """Draw one object (sometimes touching the last one) where it covers no other by much."""
    for _ in range(20):
        kind = KINDS[int(np.searchsorted([0.7, 0.85], rng.random()))]
        shortest_long, longest, thinnest, roundest = SHAPES[kind]
        long = rng.uniform(shortest_long, longest)
        short = long * rng.uniform(thinnest, roundest)
        centre = rng.uniform(MARGIN - 10, MARGIN + SIZE + 10, 2)
        if kinds and rng.random() < 0.35:  # touching pair: about two radii away from the last object
            ys, xs = np.nonzero(mask == len(kinds))
            angle = rng.uniform(0, 2 * np.pi)
            reach = np.sqrt(len(xs) / np.pi) + np.sqrt(long * short)
            centre = np.array([xs.mean(), ys.mean()]) + reach * np.array([np.cos(angle), np.sin(angle)])
        window, shape = _blob(rng, centre, long, short)
        under = mask[window][shape]
        if under.size and (under > 0).mean() < 0.1:
            kinds.append(kind)
            mask[window][shape & (mask[window] == 0)] = len(kinds)
            return


def _blob(
    rng: np.random.Generator, centre: Float[np.ndarray, "2"], long: float, short: float
) -> tuple[tuple[slice, slice], Bool[np.ndarray, "h w"]]:
    """A filled ellipse of these semi-axes with a slightly wavy outline: where on the canvas, and its pixels there."""
    size, reach = SIZE + 2 * MARGIN, int(long * 1.15) + 2
    left, top = (np.clip(centre.astype(int) - reach, 0, size - 1)).tolist()
    right, bottom = (np.clip(centre.astype(int) + reach, 1, size)).tolist()
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    angle, lobes, phase = rng.uniform(0, np.pi), int(rng.integers(2, 5)), rng.uniform(0, 2 * np.pi)
    u = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    v = -(x - centre[0]) * np.sin(angle) + (y - centre[1]) * np.cos(angle)
    wave = 1 + rng.uniform(0, 0.12) * np.cos(lobes * np.arctan2(v, u) + phase)
    return (slice(top, bottom), slice(left, right)), np.hypot(u / long, v / short) < wave


def _light(rng: np.random.Generator, mask: Int[np.ndarray, "h w"], kinds: list[str]) -> UInt8[np.ndarray, "size size"]:
    """The 8-bit picture inside the margin: a brightness for each object, texture, uneven light, blur and noise."""
    from scipy.ndimage import gaussian_filter

    border = 8  # as far as blur reaches
    near = mask[MARGIN - border : MARGIN + SIZE + border, MARGIN - border : MARGIN + SIZE + border]
    base = rng.uniform(25, 110)
    levels = [base * rng.uniform(0.6, 1.4) if kind != "mitotic" else rng.uniform(120, 220) for kind in kinds]
    texture = gaussian_filter(rng.standard_normal(near.shape), 2.0) * rng.uniform(0.2, 1.0)
    y, x = np.mgrid[: near.shape[0], : near.shape[1]] / near.shape[0] - 0.5
    slope_x, slope_y = rng.uniform(-0.6, 0.6, 2)
    tilt = slope_x * x + slope_y * y
    light = gaussian_filter(np.array([0.0, *levels])[near] * (1 + texture), rng.uniform(0.5, 2.0)) * (1 + 0.5 * tilt)
    noise = rng.standard_normal(near.shape) * rng.uniform(0.5, 7.0)
    full = light + rng.uniform(5, 45) * (1 + tilt) + noise
    picture: UInt8[np.ndarray, "size size"] = np.clip(full[border:-border, border:-border], 0, 255).astype(np.uint8)
    return picture
