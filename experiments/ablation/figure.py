"""The figure of an ablation: each arm's mean, and its difference to `full`, with intervals and every seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from groundrl.experiments.ablation.compare import FULL, START, Interval
from groundrl.experiments.ablation.statistics import ALPHA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from groundrl.experiments.ablation.results import Results

CLEAR, UNCLEAR, REFERENCE = "#c2410c", "#475569", "#2a9d4e"
LARGE, MEDIUM = 24, 20  # points on 12 inches: legible on a telephone too


def draw_ablation(results: Results) -> Figure:
    """Above, means over seeds; below, paired differences. One row an arm; small points are seeds, bars 95 % t."""
    import matplotlib.pyplot as plt

    compared = results.comparisons
    rows = [len(results.means), *([len(compared)] if compared else [])]
    figure = plt.figure(figsize=(12, 4.2 + 0.62 * sum(rows)))
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15)
    top, *below = figure.subplots(len(rows), 1, height_ratios=[count + 1 for count in rows], squeeze=False)[:, 0]
    for row, mean in enumerate(results.means):
        colour = REFERENCE if mean.arm in (FULL, START) else UNCLEAR
        _row(top, row, mean.mean, mean.interval, mean.values, colour)
    _labels(top, [mean.arm for mean in results.means], f"{results.metric}")
    for bottom in below:
        for row, found in enumerate(compared):
            colour = CLEAR if found.p_corrected <= ALPHA else UNCLEAR
            _row(bottom, row, found.mean, found.interval, found.differences, colour)
        bottom.axvline(0, color=REFERENCE, linewidth=2.5, zorder=0)
        _labels(bottom, [found.arm for found in compared], f"difference to full\n(orange: corrected p ≤ {ALPHA})")
    seeds = max(len(mean.seeds) for mean in results.means)
    figure.suptitle(f"{seeds} seed{'s' * (seeds != 1)} (points), mean and 95 % interval", fontsize=MEDIUM, color="0.35")
    return figure


def _row(axes: Axes, row: int, mean: float, interval: Interval | None, seeds: tuple[float, ...], colour: str) -> None:
    offsets = np.linspace(-0.16, 0.16, len(seeds)) if len(seeds) > 1 else [0.0]
    axes.scatter(seeds, row + np.asarray(offsets), s=60, color=colour, alpha=0.4, linewidths=0)
    if interval is not None:
        axes.plot(interval, (row, row), color=colour, linewidth=4, solid_capstyle="butt")
    axes.plot([mean], [row], "D", color=colour, markersize=12, markeredgecolor="white")


def _labels(axes: Axes, names: list[str], title: str) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=MEDIUM)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(title, fontsize=LARGE)
    axes.tick_params(axis="x", labelsize=MEDIUM)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
