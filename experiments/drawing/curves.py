"""Curves, as figures: of one run, and of several overlaid. All from what is recorded; the smoothing is stated."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg", force=False)

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from groundrl.experiments.drawing.series import SMOOTHING, part_names, smooth

SUFFIXES = (".png", ".svg", ".pdf")


def draw_curves(figure: Figure | SubFigure, rows: Sequence[Mapping[str, Any]], evaluation: Mapping[str, Any]) -> None:
    """Loss or reward and parts, IoU, informative groups, completion length: raw points and a smoothed line."""
    rl = [row for row in rows if "reward/mean" in row]
    sft = [row for row in rows if "reward/mean" not in row]
    parts = part_names(rl)
    axes = figure.subplots(2, 3)
    _panel(axes[0, 0], sft, {"loss": "loss"}, "SFT loss")
    curves = {"reward/mean": "total", **{f"reward/{part}/mean": part for part in parts}}
    _panel(axes[0, 1], rl, curves, "reward and its parts")
    _panel(axes[0, 2], rl, {"rollout/iou_mean": "training rollouts"}, "IoU")
    _test_points(axes[0, 2], rows, evaluation)
    groups = {"groups/informative": "informative", "groups/zero_variance": "zero variance", "groups/dropped": "dropped"}
    _panel(axes[1, 0], rl, groups, "groups of a step")
    _panel(axes[1, 1], rl, {"completion_length/mean": "mean"}, "completion length (tokens)")
    _panel(axes[1, 2], rl, {"entropy": "entropy (nats a token)", "clip_frac": "clipped share"}, "policy")
    figure.suptitle(f"points: each step; lines: centred mean of {SMOOTHING} steps", fontsize=9, color="0.4")


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], curves: Mapping[str, str], title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    for key, label in curves.items():
        steps = [row["step"] for row in rows if key in row]
        values = [row[key] if row[key] is not None else np.nan for row in rows if key in row]
        if steps:
            line = axes.plot(steps, smooth(values), linewidth=1.6, label=label)[0]
            axes.plot(steps, values, ".", markersize=2, alpha=0.35, color=line.get_color())
    if axes.lines:
        axes.legend(fontsize=7, frameon=False)
    else:
        axes.text(0.5, 0.5, "nothing recorded", ha="center", va="center", transform=axes.transAxes, color="0.5")


def _test_points(axes: Axes, rows: Sequence[Mapping[str, Any]], evaluation: Mapping[str, Any]) -> None:
    ends = {row["stage"]: row["step"] for row in rows}
    for metric, label, marker in (("iou_mean", "test, sampled", "o"), ("iou_mean_greedy", "test, greedy", "s")):
        points = [(ends[s], v[metric]) for s, v in evaluation.get("stages", {}).items() if metric in v and s in ends]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color="black", label=label, markersize=5, fillstyle="none")
            axes.legend(fontsize=7, frameon=False)


def stages_figure(evaluation: Mapping[str, Any]) -> Figure:
    """The test IoU at the end of each stage, sampled and greedy, with 95 % intervals over blocks."""
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    stages = list(evaluation["stages"])
    for offset, (metric, label) in enumerate((("iou_mean", "sampled at T = 1"), ("iou_mean_greedy", "greedy"))):
        shown = [(index, stage) for index, stage in enumerate(stages) if metric in evaluation["stages"][stage]]
        values = [evaluation["stages"][stage][metric] for _, stage in shown]
        ends = [evaluation["ci95"][stage][metric] for _, stage in shown]
        known = [(low, high) if low is not None else (v, v) for v, (low, high) in zip(values, ends, strict=True)]
        bars = [[v - low for v, (low, _) in zip(values, known, strict=True)]]
        bars.append([high - v for v, (_, high) in zip(values, known, strict=True)])
        indices = [index + 0.12 * offset - 0.06 for index, _ in shown]
        axes.errorbar(indices, values, yerr=bars, fmt="o-", markersize=4, linewidth=1, capsize=3, label=label)
    axes.set_xticks(range(len(stages)), [f"after {stage}" for stage in stages])
    axes.set_xlim(-0.5, len(stages) - 0.5)
    axes.set_ylabel(f"IoU of {evaluation['num_examples']} test examples")
    axes.grid(alpha=0.25, axis="y")
    axes.legend(frameon=False, fontsize=8)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as its suffix says (PNG, SVG or PDF), whole or not at all, and close it; no date is written."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a figure is written as {', '.join(SUFFIXES)}, not as {path.name!r}")
    undated = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[path.suffix]
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "groundrl"}):
        figure.savefig(buffer, format=path.suffix[1:], dpi=110, metadata=undated)
    plt.close(figure)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(path)
