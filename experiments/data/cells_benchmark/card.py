"""The data card of a benchmark of cells: how it was made, what is in it, histograms of what was stratified."""

from __future__ import annotations

from collections import Counter

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groundrl.experiments.data.cells_benchmark.crops import NAMES
from groundrl.experiments.data.cells_benchmark.sample import Benchmark
from groundrl.experiments.data.cells_benchmark.strata import RANGES, count_range

COLOURS = {"candidates": "0.88", "train": "#3b6fb6", "test": "#ff7a1a"}
LABELS = {
    "size": "size: median diameter (pixels)",
    "shape": "shape: median axis ratio (1 is round)",
    "density": "density: share of pixels covered",
}
BARS = 12

CARD = """# {name}

A grounding benchmark of cells, made by `groundrl data cells`: crops of {size} x {size} pixels of {pictures} with
{objects} objects in their masks ({classes}).

| split | crops | without an object | boxes | blocks | candidates |
|---|---|---|---|---|---|
{splits}

{shortfall}Use it with `data: {{train: {name}/train.jsonl, test: {name}/test.jsonl}}`.

## How it was made

- Split by {by}: {leak} `block` names that part; intervals belong over blocks.
- Candidates lie half a crop apart, so crops of one split may overlap.
- An object counts where at least half of its pixels are in the crop; its box is that of the visible part.
- A crop without such an object is a negative; a piece of an object may still stand at its border.
- Crops are drawn one of each stratum in turn (count, size, shape and density together), seed {seed}: rare kinds are as
  frequent here as common ones while they last. The mix of a benchmark is not the mix of the pictures.
- Pictures of 16 bits: the 0.1 to 99.9 percentile of each whole picture became 0 to 255.
{pieces}
## Strata

Count of a crop is the number of its objects. Size is their median diameter (of a circle of the same area), shape their
median axis ratio (short over long axis of the ellipse of equal second moments), both of whole objects; density is the
share of pixels that objects cover. Edges are the thirds of all candidates with objects.

| what | range | values | train | test |
|---|---|---|---|---|
{strata}

![Histograms of count, size, shape and density in both splits](histograms.png)
"""


def card(benchmark: Benchmark, *, name: str) -> str:
    """The card as Markdown."""
    settings, count = benchmark.settings, len(benchmark.pairs)
    made = sum(len(crops) for crops in benchmark.splits.values())
    few = f"{settings.crops} crops were asked for; there were too few candidates, with objects or without.\n\n"
    leaks = {
        "image": "no picture has crops in both splits.",
        "region": "pictures are cut by a grid, each cell with all its crops belongs to one split, and no pixel is in "
        "both. An object on a grid line can be shown in part in each.",
    }
    total = sum(benchmark.classes.values())
    pieces = f"- {benchmark.in_pieces} of the {total} objects are in more than one connected piece.\n"
    return CARD.format(
        name=name,
        size=settings.size,
        pictures=f"{count} picture{'s' if count > 1 else ''}",
        objects=total,
        classes=", ".join(f"{n} {each}" for each, n in benchmark.classes.items()),
        splits="\n".join(_split_row(benchmark, split) for split in benchmark.splits),
        shortfall=few if made < settings.crops else "",
        by=settings.split,
        leak=leaks[settings.split],
        seed=settings.seed,
        pieces=pieces if benchmark.in_pieces else "",
        strata="\n".join(_strata_rows(benchmark)),
    )


def histograms(benchmark: Benchmark) -> Figure:
    """Count, size, shape and density of the crops of both splits, over those of all candidates; edges of the strata."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 2).flatten()
    everything = [crop for crops in benchmark.candidates.values() for crop in crops]
    top = max(crop.count for crop in everything)
    _histogram(axes[0], benchmark, "count", np.arange(top + 2) - 0.5 if top < 40 else np.linspace(0, top, BARS))
    axes[0].set_xlabel("count: objects in a crop")
    for index, name in zip(axes[1:], NAMES, strict=True):
        seen = [getattr(crop, name) for crop in everything if crop.count]
        _histogram(index, benchmark, name, np.linspace(min(seen), max(seen) + 1e-9, BARS))
        index.set_xlabel(LABELS[name])
        for edge in benchmark.strata.edges[name]:
            index.axvline(edge, color="0.4", linestyle=":", linewidth=1.2)
    sizes = ", ".join(f"{len(crops)} {split}" for split, crops in benchmark.splits.items())
    figure.suptitle(f"{sizes} crops; dotted: edges of the strata", fontsize=9, color="0.4")
    return figure


def _histogram(axes: Axes, benchmark: Benchmark, name: str, edges: np.ndarray) -> None:
    everything = [crop for crops in benchmark.candidates.values() for crop in crops]
    for label, crops in {"candidates": everything, **benchmark.splits}.items():
        values = [getattr(crop, name) for crop in crops if crop.count or name == "count"]
        shares = np.histogram(values, bins=edges)[0] / max(len(values), 1)
        filled = label == "candidates"
        axes.stairs(shares, edges, color=COLOURS[label], linewidth=1.8, label=label, fill=filled)
    axes.set_ylabel("share of crops" if name == "count" else "share of crops with objects")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False)


def _split_row(benchmark: Benchmark, split: str) -> str:
    crops = benchmark.splits[split]
    empty = sum(not crop.count for crop in crops)
    boxes = sum(crop.count for crop in crops)
    blocks = len({crop.region.name for crop in crops})
    return f"| {split} | {len(crops)} | {empty} | {boxes} | {blocks} | {len(benchmark.candidates[split])} |"


def _strata_rows(benchmark: Benchmark) -> list[str]:
    strata, rows = benchmark.strata, []
    tally = {
        split: Counter(item for crop in crops for item in strata.words(crop).items())
        for split, crops in benchmark.splits.items()
    }
    top = max(crop.count for crops in benchmark.splits.values() for crop in crops).bit_length()
    kinds = [("count", count_range(bin), "") for bin in range(top + 1)]
    for name in NAMES:
        low, high = (f"{edge:.3g}" for edge in strata.edges[name])
        values = (f"below {low}", f"{low} to {high}", f"{high} and above")
        kinds += [(name, word, value) for word, value in zip(RANGES[name], values, strict=True)]
    for what, word, value in kinds:
        found = " | ".join(str(tally[split][what, word]) for split in benchmark.splits)
        rows.append(f"| {what} | {word} | {value} | {found} |")
    return rows
