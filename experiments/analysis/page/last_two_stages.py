"""Answers to the same test examples after the last two stages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from groundrl.experiments.analysis.page.boxes import box_entries
from groundrl.rewards import Completion, Example

SHOWN = 48  # examples, spread evenly over the data set; not chosen


def answer_pairs(folder: Path, examples: Mapping[str, Example]) -> dict[str, Any]:
    """`{"stages", "rows": [{"example", "answers": [{"text", "iou", "reward", "boxes"}]}]}`: greedy answers, by stage.

    Empty where fewer than two stages were evaluated.
    """
    path = folder / "evaluation.json"
    stages = list(json.loads(path.read_text())["stages"])[-2:] if path.is_file() else []
    tables = [
        {
            row["example_id"]: row
            for row in pq.ParquetFile(folder / "evaluation" / f"{stage}.parquet").read().to_pylist()
            if row["decoding"] == "greedy"
        }
        for stage in stages
    ]
    if len(tables) < 2:
        return {"stages": [], "rows": []}
    shared = [id for id in tables[0] if id in tables[1] and id in examples]
    picked = [shared[index] for index in np.linspace(0, len(shared) - 1, min(SHOWN, len(shared))).astype(int)]
    return {
        "stages": stages,
        "rows": [{"example": id, "answers": [_answer(table[id], examples[id]) for table in tables]} for id in picked],
    }


def _answer(row: Mapping[str, Any], example: Example) -> dict[str, Any]:
    boxes = Completion(text=row["text"], box_space=example.box_space).boxes
    return {
        "text": row["text"],
        "iou": row["iou"],
        "reward": row["reward"],
        "boxes": box_entries(boxes, example),
    }
