"""What a benchmark of cells consists of: which crops of which pictures, drawn over strata and split without overlap."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from groundrl.experiments.data.cells_benchmark.crops import (
    Crop,
    Region,
    SplitBy,
    axis_ratios,
    crops_of,
    find_regions,
    split_regions,
)
from groundrl.experiments.data.cells_benchmark.strata import Strata, cut_strata, draw
from groundrl.experiments.data.formats.coco import DEFAULT_ANSWER, check_template
from groundrl.experiments.data.formats.mask_source import MaskReading
from groundrl.rollout.io.pictures import damage_as_os_error

BRIGHTEST = (0.1, 99.9)  # percentiles of a 16-bit picture that become black and white


@dataclass(frozen=True, kw_only=True)
class CellSettings:
    """What to build. `crops` of `size` x `size` pixels, a share `test_share` of them, and of the regions, for test.

    A share `negatives` of each split shows no object. `split`: whole pictures, or regions of pictures.
    """

    size: int = 256
    crops: int = 1000
    test_share: float = 0.25
    negatives: float = 0.1
    split: SplitBy = "image"
    seed: int = 0
    prompt: str = "Detect and localize all cells in the image."
    answer: str = DEFAULT_ANSWER

    def __post_init__(self) -> None:
        for name, fits, legal in (
            ("size", self.size >= 8, "at least 8 pixels"),
            ("crops", self.crops >= 2, "at least 2"),
            ("test_share", 0 < self.test_share < 1, "between 0 and 1"),
            ("negatives", 0 <= self.negatives < 1, "at least 0 and below 1"),
            ("seed", self.seed >= 0, "at least 0"),
        ):
            if not fits:
                raise ValueError(f"`{name}` is {legal}, got {getattr(self, name)}")
        check_template(self.answer)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What was drawn: the crops of each split, their strata, and what there was to draw from."""

    settings: CellSettings
    pairs: tuple[tuple[Path, Path], ...]  # picture and mask
    strata: Strata
    splits: Mapping[str, Sequence[Crop]]
    candidates: Mapping[str, Sequence[Crop]]
    classes: Mapping[str, int]  # class -> objects in all masks
    in_pieces: int  # objects of more than one connected piece


def sample_cells(pairs: Sequence[tuple[Path, Path]], *, reading: MaskReading, settings: CellSettings) -> Benchmark:
    """Look at each picture and its mask, one at a time, and draw the crops. ValueError for what cannot be used."""
    crops: dict[str, list[Crop]] = {}  # of each region, by its name
    regions: list[Region] = []
    classes: Counter[str] = Counter()
    in_pieces = 0
    twins: dict[str, Path] = {}
    for index, (path, mask) in enumerate(pairs):
        picture = open_eight_bit(path)
        _refuse_twin(picture, path, twins)
        objects = reading.read(mask, width=picture.width, height=picture.height)
        shapes = axis_ratios(objects.labels, len(objects))
        own = find_regions(index, path.stem, picture.size, by=settings.split, size=settings.size)
        crops |= {region.name: list(crops_of(region, objects, shapes, size=settings.size)) for region in own}
        regions += own
        classes.update(objects.names)
        in_pieces += objects.in_pieces()
    splits = split_regions(regions, test_share=settings.test_share, seed=settings.seed, by=settings.split)
    candidates = {split: [crop for region in own for crop in crops[region.name]] for split, own in splits.items()}
    strata = cut_strata([crop for each in candidates.values() for crop in each])
    test = max(1, round(settings.test_share * settings.crops))
    wanted = {"train": settings.crops - test, "test": test}
    drawn = {
        split: draw(own, strata, count=wanted[split], negatives=settings.negatives, seed=(settings.seed, place + 1))
        for place, (split, own) in enumerate(candidates.items())
    }
    return Benchmark(
        settings=settings,
        pairs=tuple(pairs),
        strata=strata,
        splits=drawn,
        candidates=candidates,
        classes=dict(sorted(classes.items())),
        in_pieces=in_pieces,
    )


def open_eight_bit(path: Path) -> Image.Image:
    """A picture as grey or RGB with 8 bits a channel; of 16 bits, its own 0.1 to 99.9 percentile become 0 to 255."""
    try:
        with damage_as_os_error(), Image.open(path) as image:
            frames, picture = getattr(image, "n_frames", 1), image.copy()
    except OSError as error:
        raise ValueError(f"the picture {path} cannot be read: {error}; replace it") from None
    if frames > 1:
        raise ValueError(f"the picture {path} holds {frames} frames; save each as a file")
    if picture.mode in ("L", "RGB"):
        return picture
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        return picture.convert("RGB")
    values = np.asarray(picture, dtype=np.float64)
    low, high = np.percentile(values, BRIGHTEST)
    return Image.fromarray(np.rint(np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8))


def _refuse_twin(picture: Image.Image, path: Path, seen: dict[str, Path]) -> None:
    """ValueError where an earlier file holds the same picture: one could be in train and the other in test."""
    key = hashlib.sha256(f"{picture.mode}{picture.size}".encode() + picture.tobytes()).hexdigest()
    if key in seen:
        raise ValueError(f"{seen[key]} and {path} show the same picture, which could be in both splits; remove one")
    seen[key] = path
