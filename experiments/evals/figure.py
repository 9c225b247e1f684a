"""An evaluation as a picture: each metric's value in each data set, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from groundrl.experiments.drawing.curves import save_figure
from groundrl.experiments.metrics.own import recorded


def draw(content: Mapping[str, Any], path: Path) -> None:
    """One panel a data set: points with 95 % intervals; shares and scores that are none have panels of their own."""
    metrics = recorded(content)
    panels = [
        (name, percent, chosen)
        for name, each in content["datasets"].items()
        for percent in (True, False)
        if (chosen := {k: v for k, v in each["metrics"].items() if metrics[k].percent == percent})
    ]
    heights = [len(chosen) + 1.5 for _, _, chosen in panels] or [2.0]
    figure = plt.figure(figsize=(7.5, 0.8 + 0.3 * sum(heights)), layout="constrained")
    figure.suptitle(f"{content['name']}: {content['model']}", fontsize=10)
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, percent, chosen) in zip(axes, panels, strict=False):
        scale = 100.0 if percent else 1.0
        for index, found in enumerate(chosen.values()):
            value, (lo, hi) = found["value"], found["ci95"]
            if value is None:
                continue
            if lo is not None and hi is not None:
                axis.plot([scale * lo, scale * hi], [index, index], color="#4a7fb5", linewidth=2.2)
            axis.plot([scale * value], [index], "o", color="#173f66", markersize=5)
        axis.set_yticks(range(len(chosen)), [f"{metric} (n {found['n']})" for metric, found in chosen.items()])
        axis.set_ylim(len(chosen) - 0.5, -0.5)
        if percent:
            axis.set_xlim(-2, 102)
        axis.set_title(f"{name}{' (%)' if percent else ''}", fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25, axis="x")
    save_figure(figure, path)
