"""The figures that close a run: curves, and answers before and after on test examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq

from groundrl.experiments.drawing.boxes import Pair, draw_pairs
from groundrl.experiments.drawing.curves import draw_curves, save_figure, stages_figure
from groundrl.experiments.recording.rollouts import read_examples
from groundrl.rewards import Completion
from groundrl.rollout.io.records import read_lines


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
    picked = [shown[index] for index in np.linspace(0, len(shown) - 1, min(count, len(shown))).astype(int)]
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


def _evaluation(folder: Path) -> dict[str, Any]:
    path = folder / "evaluation.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return content
