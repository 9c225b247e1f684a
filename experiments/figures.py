"""Boxes on images: one answer, answers before and after on test examples; and the figures that close a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg", force=False)

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from PIL import Image

from groundrl.experiments.plotting import draw_curves, save_figure, stages_figure
from groundrl.experiments.stored import read_examples
from groundrl.rewards import Boxes, Completion, Example, pixel
from groundrl.rollout.pictures import open_image
from groundrl.rollout.records import read_lines

TRUE_COLOUR, PREDICTED_COLOUR = "#2a9d4e", "#ff7a1a"


def draw_run(folder: Path) -> None:
    """Write curves.png and, where two stages were evaluated with boxes, stages.png, boxes.png and summary.png."""
    rows = list(read_lines(folder / "metrics.jsonl"))
    figure = plt.figure(figsize=(11, 6), layout="constrained")
    draw_curves(figure, rows, _evaluation(folder))
    save_figure(figure, folder / "curves.png")
    pairs = before_and_after(folder)
    if not pairs:
        return
    save_figure(stages_figure(_evaluation(folder)), folder / "stages.png")
    figure = plt.figure(figsize=(11, 4.2), layout="constrained")
    draw_pairs(figure, pairs)
    save_figure(figure, folder / "boxes.png")
    figure = plt.figure(figsize=(11, 9), layout="constrained")
    parts: np.ndarray = np.asarray(figure.subfigures(2, 1, height_ratios=(6, 4.2)))
    top, bottom = parts
    draw_curves(top, rows, _evaluation(folder))
    draw_pairs(bottom, pairs)
    save_figure(figure, folder / "summary.png")


def draw_boxes(axes: Axes, example: Example, completion: Completion | None, title: str) -> None:
    """The example's first image with the true boxes (solid) and the completion's (dashed)."""
    image = example.images[0]
    axes.imshow(
        brightened(open_image(image, example.id)), interpolation="nearest", extent=(0, image.width, image.height, 0)
    )
    sides = (
        (example.reference.boxes, TRUE_COLOUR, "-"),
        (completion.boxes if completion is not None else None, PREDICTED_COLOUR, "--"),
    )
    for boxes, colour, style in sides:
        for x1, y1, x2, y2 in _in_pixels(boxes, image.width, image.height):
            axes.add_patch(
                Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=style, linewidth=1.6)
            )
    axes.set_title(title, fontsize=8)
    axes.set_xlim(0, image.width)
    axes.set_ylim(image.height, 0)
    axes.set_axis_off()


Pair = tuple[Example, list[tuple[str, Completion, float]]]


def before_and_after(folder: Path, count: int = 8) -> list[Pair]:
    """Test examples with the greedy answers of the last two stages, spread evenly over the data set; not chosen."""
    stages = list(_evaluation(folder).get("stages", {}))[-2:]
    tables = [
        {
            row["example_id"]: row
            for row in pq.read_table(folder / "evaluation" / f"{stage}.parquet").to_pylist()
            if row["decoding"] == "greedy" and row["iou"] is not None
        }
        for stage in stages
    ]
    if len(tables) < 2:
        return []
    examples = read_examples(folder)
    shown = [id for id in tables[0] if id in tables[1]]
    picked = [shown[place] for place in np.linspace(0, len(shown) - 1, min(count, len(shown))).astype(int)]
    return [
        (
            examples[id],
            [
                (stage, Completion(text=table[id]["text"], box_space=examples[id].box_space), table[id]["iou"])
                for stage, table in zip(stages, tables, strict=True)
            ],
        )
        for id in picked
    ]


def draw_pairs(figure: Figure | SubFigure, pairs: Sequence[Pair]) -> None:
    """One column an example, one row a stage, with the IoU of each answer."""
    axes = figure.subplots(2, len(pairs), squeeze=False)
    for column, (example, answers) in enumerate(pairs):
        for row, (stage, completion, iou) in enumerate(answers):
            draw_boxes(axes[row, column], example, completion, f"after {stage}: IoU {iou:.2f}")
    figure.suptitle(
        "test crops, evenly spaced through the set; solid: truth, dashed: greedy answer", fontsize=9, color="0.4"
    )


def _in_pixels(boxes: Boxes | None, width: int, height: int) -> list[list[float]]:
    return boxes.to(pixel(width, height)).xyxy.tolist() if boxes is not None else []


def brightened(image: Image.Image) -> np.ndarray:
    """An image as numbers in [0, 1], its contrast stretched for the eye; the model sees the original."""
    array = np.asarray(image, dtype=np.float64)
    low, high = np.percentile(array, (0.5, 99.5))
    stretched: np.ndarray = np.clip((array - low) / max(high - low, 1.0), 0, 1)
    return stretched


def _evaluation(folder: Path) -> dict[str, Any]:
    path = folder / "evaluation.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return content
