"""From microscopy pictures with masks to a grounding benchmark: JSON lines of crops in two splits, with a data card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from groundrl.experiments.data.cells_benchmark.card import card, histograms
from groundrl.experiments.data.cells_benchmark.crops import Crop
from groundrl.experiments.data.cells_benchmark.sample import Benchmark, CellSettings, open_eight_bit, sample_cells
from groundrl.experiments.data.formats.coco import boxes_example
from groundrl.experiments.data.formats.mask_source import MaskReading, pair_files
from groundrl.experiments.data.formats.masks import Instances, instance_boxes
from groundrl.experiments.drawing.curves import save_figure
from groundrl.rewards import Example, ImageRef
from groundrl.rollout.io.records import replace_folder, write_text

MEASURES = ("count", "size", "shape", "density")


def build_cells(
    images: Path, masks: Path, out: Path, *, reading: MaskReading, settings: CellSettings, overwrite: bool = False
) -> Benchmark:
    """Write `train.jsonl`, `test.jsonl`, `images/`, `README.md` (the data card), `histograms.png`, `benchmark.json`.

    The same files and settings give the same bytes. Nothing stands under `out` before all of it is written.
    ValueError for pictures and masks that do not fit, and where `out` exists (unless `overwrite`, and it is a
    benchmark).
    """
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists; choose another --out, or replace it with --overwrite")
    if out.exists() and not (out / "benchmark.json").is_file():
        raise ValueError(f"{out} exists and is no benchmark of cells; it is not overwritten")
    benchmark = sample_cells(pair_files(images, masks), reading=reading, settings=settings)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "images").mkdir(parents=True)
    for split, crops in benchmark.splits.items():
        rows = _write_crops(benchmark, crops, reading, partial, dataset=out.name)
        write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), partial / f"{split}.jsonl")
    write_text(card(benchmark, name=out.name), partial / "README.md")
    write_text(json.dumps(_summary(benchmark), indent=2) + "\n", partial / "benchmark.json")
    save_figure(histograms(benchmark), partial / "histograms.png")
    replace_folder(partial, out)
    return benchmark


def _write_crops(
    benchmark: Benchmark, crops: Sequence[Crop], reading: MaskReading, folder: Path, *, dataset: str
) -> Iterator[dict[str, Any]]:
    """Save one split's pictures, each source opened once, and give their lines."""
    size = benchmark.settings.size
    for index, own in groupby(crops, key=lambda crop: crop.region.picture):
        path, mask = benchmark.pairs[index]
        picture = open_eight_bit(path)
        objects = reading.read(mask, width=picture.width, height=picture.height)
        for crop in own:
            name = f"images/{path.stem}-{crop.x}-{crop.y}.png"
            picture.crop((crop.x, crop.y, crop.x + size, crop.y + size)).save(folder / name)
            yield _line(_example(benchmark, crop, objects, reading.names, image=name, dataset=dataset), image=name)


def _example(
    benchmark: Benchmark, crop: Crop, objects: Instances, names: Sequence[str], *, image: str, dataset: str
) -> Example:
    size, source = benchmark.settings.size, benchmark.pairs[crop.region.picture][0]
    part = objects.labels[crop.y : crop.y + size, crop.x : crop.x + size]
    return boxes_example(
        id=f"{source.stem}/{crop.x}-{crop.y}",
        image=ImageRef(source=Path(image), width=size, height=size),
        boxes=instance_boxes(part, list(crop.shown), objects.names),
        names=names,
        prompt=benchmark.settings.prompt,
        answer=benchmark.settings.answer,
        block=crop.region.name,
        dataset=dataset,
        columns={
            "picture": source.name,
            "at": [crop.x, crop.y],
            "stratum": benchmark.strata.words(crop),
            **{name: _number(getattr(crop, name)) for name in MEASURES},
        },
    )


def _line(example: Example, *, image: str) -> dict[str, Any]:
    """The example as a line that `JsonlSource` reads."""
    reference = example.reference
    assert reference.boxes is not None
    boxes = {"xyxy": reference.boxes.xyxy.tolist(), "space": "pixel", "labels": list(reference.boxes.labels or ())}
    return {
        "id": example.id,
        "prompt": example.prompt,
        "images": [image],
        "answer": example.answer,
        "block": example.block,
        "reference": {
            "label": reference.label,
            "labels": list(reference.labels or ()),
            "boxes": boxes,
            **reference.columns,
        },
    }


def _summary(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "schema": 1,
        "settings": asdict(benchmark.settings),
        "pictures": [path.name for path, _ in benchmark.pairs],
        "objects": dict(benchmark.classes),
        "edges": {name: list(edges) for name, edges in benchmark.strata.edges.items()},
        "candidates": {split: len(crops) for split, crops in benchmark.candidates.items()},
        "crops": {split: len(crops) for split, crops in benchmark.splits.items()},
        "blocks": {split: sorted({crop.region.name for crop in crops}) for split, crops in benchmark.splits.items()},
    }


def _number(value: float) -> float | None:
    """As written: four digits, null for what a crop without objects does not have."""
    return None if value != value else round(value, 4)
