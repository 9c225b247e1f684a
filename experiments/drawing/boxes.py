"""Boxes on images: one answer, answers before and after on test examples; and the figures that close a run."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from groundrl.experiments.drawing.brightness import brightened
from groundrl.rewards import Boxes, Completion, Example, pixel
from groundrl.rollout.io.pictures import open_image

TRUE_COLOUR, PREDICTED_COLOUR = "#2a9d4e", "#ff7a1a"


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
