"""One group of rollouts, as a figure or as text: what was answered, and what each part of the reward said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from groundrl.experiments.drawing.boxes import draw_boxes
from groundrl.rewards import Completion, Example


def group_figure(example: Example, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The completions of recorded `rows`, four to a line, each with its boxes, total, parts and advantage."""
    lines = -(-len(rows) // 4)
    figure = plt.figure(figsize=(12, 3.6 * lines), layout="constrained")
    axes = figure.subplots(lines, 4, squeeze=False).flatten()
    for index, row in enumerate(rows):
        completion = Completion(text=row["text"], box_space=example.box_space)
        draw_boxes(axes[index], example, completion, _caption(row))
    for empty in axes[len(rows) :]:
        empty.set_axis_off()
    figure.suptitle(f"{example.id}: solid is the truth, dashed the answer", fontsize=9, color="0.4")
    return figure


def group_text(example: Example, rows: Sequence[Mapping[str, Any]]) -> str:
    """The same for a text task."""
    return "\n\n".join([f"{example.id}: {example.prompt or ''}", *(f"{_caption(row)}\n{row['text']}" for row in rows)])


def _caption(row: Mapping[str, Any]) -> str:
    parts = [
        f"{key.split('/')[1]} {value:.2f}"
        for key, value in row.items()
        if key.startswith("parts/") and key.count("/") == 1 and value is not None
    ]
    total = f"reward {row['reward']:.3f}" if row["reward"] is not None else f"({row['status']})"
    return f"{total}, advantage {row['advantage'][0]:+.2f}\n{', '.join(parts)}"
