"""`nuclei/train` and `nuclei/test`: crops of the one real annotated image that the package ships.

The split is spatial: train is columns 0 to 339, test columns 340 to 511, and no crop crosses that line. Each test
crop lies wholly inside one tile, so tiles share no pixel and are the independent blocks of every interval.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from groundrl.experiments.data.formats.masks import visible_objects
from groundrl.experiments.data.shipped.scene import Scene, grounding_example, scene_of
from groundrl.rewards import Example

FOLDER = Path(__file__).parent / "nuclei"
SIZE = 64  # pixels
COUNTS = 5  # 0 to 4 nuclei, in equal shares
COLUMNS = {"train": (0, 340), "test": (340, 512)}
MITOTIC_INTENSITY = 130  # mean grey value of a nucleus above which it is a mitotic figure
TILE = (86, 128)  # width, height of a test block: two by four tiles fill the test columns


@cache
def load_image() -> tuple[UInt8[np.ndarray, "512 512"], Int[np.ndarray, "512 512"]]:
    """The image (raw intensities) and its instance mask (0 is background)."""
    picture = np.asarray(Image.open(FOLDER / "image.png"), dtype=np.uint8)
    return picture, np.asarray(Image.open(FOLDER / "mask.png"), dtype=np.int64)


@cache
def mitotic_figures() -> frozenset[int]:
    """The ids of the condensed, bright nuclei: 8 have a mean intensity of 155 to 194, all others at most 109."""
    picture, mask = load_image()
    sums, areas = np.bincount(mask.ravel(), weights=picture.ravel()), np.bincount(mask.ravel())
    return frozenset(int(i) for i in np.flatnonzero(sums > MITOTIC_INTENSITY * areas) if i != 0)


@cache
def crop_positions(split: Literal["train", "test"]) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """For each count 0 to 4, the crops `(x, y, block)` that show so many nuclei, in scan order."""
    _, mask = load_image()
    areas = np.bincount(mask.ravel())
    left, right = COLUMNS[split]
    found: list[list[tuple[int, int, str]]] = [[] for _ in range(COUNTS)]
    step = 2 if split == "train" else 1
    for y in range(0, mask.shape[0] - SIZE + 1, step):
        for x in range(left, right - SIZE + 1, step):
            tile_x, tile_y = (x - left) // TILE[0], y // TILE[1]
            whole = (x + SIZE - 1 - left) // TILE[0] == tile_x and (y + SIZE - 1) // TILE[1] == tile_y
            if split == "test" and not whole:
                continue
            count = len(visible_objects(mask[y : y + SIZE, x : x + SIZE], areas))
            if count < COUNTS:
                found[count].append((x, y, f"{split}-{tile_x}-{tile_y}"))
    return tuple(tuple(crops) for crops in found)


class NucleiCrops:
    """Deterministic crops, `i % 5` nuclei in crop `i`; train crops are flipped, rotated and re-lit, test crops not.

    Test crops go round the tiles that have an unused crop of the count, so that no crop comes twice while one is left
    and the blocks are as balanced as the image allows. `FOLDER` holds the image and its mask.
    """

    FOLDER = FOLDER

    def __init__(
        self,
        split: Literal["train", "test"],
        *,
        seed: int = 0,
        length: int | None = None,
        task: Callable[[Scene], Example] = grounding_example,
    ) -> None:
        self.split: Literal["train", "test"] = split
        self.seed = seed
        self.task = task
        self.length = length if length is not None else {"train": 20_000, "test": 256}[split]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.length:
            raise IndexError(index)
        rng = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        x, y, block = self._position(rng, index)
        picture, mask = load_image()
        areas = np.bincount(mask.ravel())
        picture, mask = picture[y : y + SIZE, x : x + SIZE], mask[y : y + SIZE, x : x + SIZE]
        if self.split == "train":
            picture, mask = _augment(rng, picture, mask)
        name = f"nuclei/{self.split}/{self.seed}/{index}"
        scene = scene_of(id=name, picture=picture, mask=mask, full_areas=areas, mitotic=mitotic_figures(), block=block)
        return self.task(scene)

    def _position(self, rng: np.random.Generator, index: int) -> tuple[int, int, str]:
        crops = crop_positions(self.split)[index % COUNTS]
        if self.split == "train":
            return crops[int(rng.integers(len(crops)))]
        order = crop_cycle(index % COUNTS, seed=self.seed)
        return order[index // COUNTS % len(order)]


@cache
def crop_cycle(count: int, *, seed: int) -> tuple[tuple[int, int, str], ...]:
    """Every test crop `(x, y, block)` with so many nuclei, once: one of each tile in turn, shuffled within a tile."""
    crops = crop_positions("test")[count]
    turns: list[tuple[int, int, tuple[int, int, str]]] = []
    for index, block in enumerate(sorted({block for _, _, block in crops})):
        own = [crop for crop in crops if crop[2] == block]
        shuffled = np.random.Generator(np.random.Philox(key=[seed, index])).permutation(len(own))
        turns += [(turn, index, own[k]) for turn, k in enumerate(shuffled)]
    return tuple(crop for _, _, crop in sorted(turns))


def _augment(
    rng: np.random.Generator, picture: UInt8[np.ndarray, "h w"], mask: Int[np.ndarray, "h w"]
) -> tuple[UInt8[np.ndarray, "h w"], Int[np.ndarray, "h w"]]:
    """One of the eight flips and rotations and a brightness between 0.7 and 1.4; boxes are read off the moved mask."""
    turns, flip, gain = int(rng.integers(4)), bool(rng.integers(2)), rng.uniform(0.7, 1.4)
    if flip:
        picture, mask = picture[:, ::-1], mask[:, ::-1]
    picture = np.clip(np.rint(np.rot90(picture, turns) * gain), 0, 255).astype(np.uint8)
    return picture, np.rot90(mask, turns)
