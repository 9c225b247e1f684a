"""Candidate crops of microscopy pictures, what each shows, and which split it may belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from groundrl.experiments.data.formats.masks import Instances, visible_objects

SplitBy = Literal["image", "region"]
REGION = 2  # a region is at least so many crops wide and high
NAMES = ("size", "shape", "density")  # what is cut into three ranges; the count is cut at 1, 2, 4, 8, ...


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of a picture that belongs to one split as a whole: the independent block of intervals."""

    picture: int  # index of the picture
    name: str
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A square of a picture and what it shows.

    `shown`: the ids of the objects of which at least half is inside. `size`: their median diameter in pixels, of the
    circle of the same area. `shape`: their median axis ratio, 1 where round, towards 0 where long. Both are of whole
    objects, also of those that the crop cuts, and nan where none is shown. `density`: the share of the crop's pixels
    that objects cover.
    """

    region: Region
    x: int
    y: int
    shown: tuple[int, ...]
    size: float
    shape: float
    density: float

    @property
    def count(self) -> int:
        """How many objects are shown."""
        return len(self.shown)


def find_regions(picture: int, name: str, extent: tuple[int, int], *, by: SplitBy, size: int) -> list[Region]:
    """The whole picture, or a grid over it with cells of at least `REGION * size` pixels a side (one, if it is small).

    `extent` is `(width, height)`. ValueError for a picture smaller than a crop.
    """
    width, height = extent
    if min(width, height) < size:
        raise ValueError(f"the picture {name} is {width} x {height}, smaller than a crop of {size}; choose a --size")
    columns, rows = (max(1, side // (REGION * size)) if by == "region" else 1 for side in extent)
    xs = np.linspace(0, width, columns + 1).astype(int).tolist()
    ys = np.linspace(0, height, rows + 1).astype(int).tolist()
    return [
        Region(
            picture=picture,
            name=f"{name}-{column}-{row}" if by == "region" else name,
            left=xs[column],
            top=ys[row],
            right=xs[column + 1],
            bottom=ys[row + 1],
        )
        for row in range(rows)
        for column in range(columns)
    ]


def crops_of(region: Region, instances: Instances, shapes: Float[np.ndarray, "ids"], *, size: int) -> Iterator[Crop]:
    """The crops of a region in scan order, half a crop apart; none leaves the region.

    `shapes[id]` is each object's axis ratio.
    """
    diameters = 2 * np.sqrt(instances.areas / np.pi)
    for y in _starts(region.top, region.bottom, size):
        for x in _starts(region.left, region.right, size):
            part = instances.labels[y : y + size, x : x + size]
            shown = visible_objects(part, instances.areas)
            yield Crop(
                region=region,
                x=x,
                y=y,
                shown=tuple(shown),
                size=float(np.median(diameters[shown])) if shown else float("nan"),
                shape=float(np.median(shapes[shown])) if shown else float("nan"),
                density=float((part > 0).mean()),
            )


def axis_ratios(labels: Int[np.ndarray, "h w"], count: int) -> Float[np.ndarray, "ids"]:
    """Of each object 1..count, the short axis over the long one of the ellipse with the same second moments.

    A pixel is a unit square (1/12 is its own second moment), so that a rectangle of `a` by `b` has exactly `b / a`.
    Index 0, the background, is nan.
    """
    ids = labels.ravel()
    inside = ids > 0
    ids = ids[inside]
    y, x = (axis.ravel()[inside].astype(np.float64) for axis in np.indices(labels.shape))
    areas = np.maximum(np.bincount(ids, minlength=count + 1), 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(ids, weights=values, minlength=count + 1) / areas

    x, y = x - mean(x)[ids], y - mean(y)[ids]  # from the object's centre, so that nothing large cancels
    xx, yy, xy = mean(x * x) + 1 / 12, mean(y * y) + 1 / 12, mean(x * y)
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    ratios: Float[np.ndarray, "ids"] = np.sqrt(np.maximum(middle - spread, 0) / (middle + spread))
    ratios[0] = np.nan
    return ratios


def split_regions(regions: Sequence[Region], *, test_share: float, seed: int, by: SplitBy) -> dict[str, list[Region]]:
    """Which regions are `train` and which `test`: drawn by the seed, at least one of each. ValueError for one only."""
    if len(regions) < 2:
        hint = "split by region" if by == "image" else "choose smaller crops, or give more pictures"
        raise ValueError(f"there is a single {by}, which cannot be both train and test; {hint}")
    order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(regions))
    count = min(max(1, round(test_share * len(regions))), len(regions) - 1)
    test = sorted(order[:count].tolist())
    return {
        "train": [region for index, region in enumerate(regions) if index not in set(test)],
        "test": [regions[index] for index in test],
    }


def _starts(low: int, high: int, size: int) -> list[int]:
    """Where crops begin on one side: half a crop apart, the last one flush with the end."""
    last = high - size
    return sorted({*range(low, last + 1, max(1, size // 2)), last})
