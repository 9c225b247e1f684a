"""Strata of crops, and a sample that goes round them, so that rare kinds of crops are as frequent as common ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundrl.experiments.data.cells_benchmark.crops import NAMES, Crop

Stratum = tuple[int, int, int, int]  # count (0: none, 1: one, 2: two or three, ...), then size, shape, density: 0 to 2
RANGES = {
    "size": ("small", "medium", "large"),
    "shape": ("long", "oval", "round"),
    "density": ("sparse", "middle", "dense"),
}


@dataclass(frozen=True, kw_only=True)
class Strata:
    """`edges[name]`: the two values that cut size, shape and density into three ranges."""

    edges: dict[str, tuple[float, float]]

    def of(self, crop: Crop) -> Stratum:
        """The stratum of a crop; all crops without an object are one."""
        if not crop.count:
            return (0, 0, 0, 0)
        size, shape, density = (int(np.searchsorted(self.edges[name], getattr(crop, name), "right")) for name in NAMES)
        return (crop.count.bit_length(), size, shape, density)

    def words(self, crop: Crop) -> dict[str, str]:
        """The stratum of a crop in words."""
        if not crop.count:
            return {"count": "0"}
        bin, *rest = self.of(crop)
        return {"count": count_range(bin)} | {name: RANGES[name][k] for name, k in zip(NAMES, rest, strict=True)}


def cut_strata(crops: Sequence[Crop]) -> Strata:
    """Strata with the thirds of these crops' values as edges; crops without objects do not count."""
    filled = [crop for crop in crops if crop.count]
    if not filled:
        raise ValueError("no crop shows an object; choose larger crops or a smaller minimal area")
    edges = {}
    for name in NAMES:
        low, high = np.quantile([getattr(crop, name) for crop in filled], (1 / 3, 2 / 3))
        edges[name] = (float(low), float(high))
    return Strata(edges=edges)


def count_range(bin: int) -> str:
    """The counts of a bin: 0, 1, 2-3, 4-7, 8-15, ..."""
    low, high = (1 << bin) >> 1, (1 << bin) - 1
    return str(low) if low >= high else f"{low}-{high}"


def draw(crops: Sequence[Crop], strata: Strata, *, count: int, negatives: float, seed: tuple[int, int]) -> list[Crop]:
    """`count` crops, a share `negatives` of them without objects, the others one of each stratum in turn.

    Where one kind runs out, the others are not filled up for it: fewer are returned. In the order given.
    """
    rng = np.random.Generator(np.random.Philox(key=list(seed)))
    piles: dict[Stratum, list[int]] = {}
    for index in rng.permutation(len(crops)).tolist():
        piles.setdefault(strata.of(crops[index]), []).append(index)
    empty = piles.pop((0, 0, 0, 0), [])[: round(negatives * count)]
    names = sorted(piles)
    turns = [
        (turn, rank, index)
        for rank, k in enumerate(rng.permutation(len(names)).tolist())
        for turn, index in enumerate(piles[names[k]])
    ]
    filled = [index for _, _, index in sorted(turns)][: count - round(negatives * count)]
    return [crops[index] for index in sorted(empty + filled)]
