"""The held-out curve of a run: test metrics at the end of each stage and, with `evaluation.every`, within it."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from groundrl.experiments.config.run import RunConfig
from groundrl.experiments.recording.evaluation import summarize
from groundrl.experiments.recording.folder import RunFolder


def held_out_curve(folder: RunFolder, config: RunConfig) -> list[dict[str, Any]]:
    """One `{"step", "stage", metric: value, ...}` for each evaluation that is there, by global step.

    Points within a stage come from one sample and one greedy answer an example, its end from all samples.
    """
    points = []
    offset = 0
    for stage in config.stages:
        within = folder.evaluation_rows(stage.name).with_suffix("")
        files = {int(file.stem.removeprefix("step-")): file for file in within.glob("step-*.parquet")}
        files[stage.steps] = folder.evaluation_rows(stage.name)
        for step, file in sorted(files.items()):
            if file.is_file():
                metrics = summarize(pq.read_table(file).to_pylist(), config.figures)
                points.append({"step": offset + step, "stage": stage.name, **metrics})
        offset += stage.steps
    return points
