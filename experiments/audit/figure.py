"""`audit.png`: what each policy earns on the scale from worst to gold, and the offending boxes on the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from groundrl.experiments.drawing.boxes import draw_boxes
from groundrl.experiments.drawing.curves import save_figure
from groundrl.rewards import AuditReport, Completion, Example
from groundrl.rewards.audit.report import Offence, PolicyResult

SHOWN = 4  # pictures
COLOURS = {"blind": "#d9480f", "count": "#e8a33d", "truth": "#3b7dd8"}


def draw_audit(report: AuditReport, examples: Sequence[Example], path: Path) -> None:
    """Write the figure: bars with their intervals and limits, and a row of images where the policies have boxes."""
    shown = [own for own in report.policies if own.scale is not None]
    pictures = _pictures(report, examples)
    height = 1.2 + 0.28 * max(len(shown), 1)
    figure = plt.figure(figsize=(11, height + (3.2 if pictures else 0)), layout="constrained")
    if pictures:
        parts: np.ndarray = np.asarray(figure.subfigures(2, 1, height_ratios=(height, 3.2)))
        top, bottom = parts
        _bars(top.subplots(), report, shown)
        row = bottom.subplots(1, SHOWN, squeeze=False)[0]
        for axes, (policy, offence, example) in zip(row, pictures, strict=False):
            completion = Completion(text=offence.text, box_space=example.box_space)
            draw_boxes(axes, example, completion, f"{policy.name}: pays {offence.score:.2f}, gold {offence.gold:.2f}")
        for axes in row[len(pictures) :]:
            axes.set_axis_off()
        bottom.supxlabel("solid: truth, dashed: the policy's answer", fontsize=8, color="0.4")
    else:
        _bars(figure.subplots(), report, shown)
    save_figure(figure, path)


def _bars(axes: Axes, report: AuditReport, shown: Sequence[PolicyResult]) -> None:
    indices = range(len(shown))
    scales = [own.scale or 0.0 for own in shown]
    axes.barh(indices, scales, color=[COLOURS[own.kind] for own in shown], alpha=0.85)
    for index, own in zip(indices, shown, strict=True):
        if own.scale_interval is not None:
            axes.plot(own.scale_interval, (index, index), color="black", linewidth=1)
        axes.plot((own.limit, own.limit), (index - 0.45, index + 0.45), color="0.15", linewidth=2)
    axes.set_yticks(list(indices), [f"{own.name}{' (flagged)' if own.flagged else ''}" for own in shown], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1.0, color="#2a9d4e", linewidth=1)
    axes.set_xlim(min(-0.02, *scales, 0.0), max(1.05, *scales, 1.0))
    axes.set_xlabel(
        "(policy - worst) / (gold - worst), 95 % interval over blocks; upright marks: the limit", fontsize=8
    )
    handles = [Patch(color=colour) for colour in COLOURS.values()]
    names = ["blind", "told the number of boxes", "gold, spoiled"]
    axes.legend(handles, names, fontsize=7, frameon=False, loc="lower right")
    title = report.reward if len(report.reward) <= 110 else f"{report.reward[:107]}..."
    outcome = "passed" if report.passed else "flagged"
    axes.set_title(f"{title}: {outcome} ({report.num_examples} examples)", fontsize=9)


def _pictures(report: AuditReport, examples: Sequence[Example]) -> list[tuple[PolicyResult, Offence, Example]]:
    """The flagged policies, blind ones first; where none is, the best paid; each with its best paid completion."""
    by_id = {example.id: example for example in examples}
    rest = sorted((own for own in report.policies if own.scale is not None), key=lambda own: -(own.scale or 0.0))
    flagged = sorted(report.flagged, key=lambda own: ("blind", "count", "truth").index(own.kind))
    found = []
    for policy in flagged or [own for own in rest if own.kind != "truth"]:
        for offence in policy.offences[:1]:
            example = by_id[offence.example_id]
            answer = Completion(text=offence.text, box_space=example.box_space)
            if example.images and answer.boxes is not None and len(answer.boxes):
                found.append((policy, offence, example))
    return found[:SHOWN]
