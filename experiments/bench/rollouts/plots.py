"""Three small plots: how an update's cost grows with the group, the prompt, and the number of groups."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from groundrl.experiments.bench.rollouts.cases import Case, build, random_completions
from groundrl.experiments.bench.rollouts.contenders import Contender, Ours, Padded, Trl

BASE = Case(shape="tiny", prompt=256, completion=32, group=8)
AXES: dict[str, tuple[str, Sequence[int]]] = {
    "group": ("completions of a group", (2, 4, 8, 16)),
    "prompt": ("tokens of the prompt", (64, 128, 256, 512)),
    "groups": ("groups", (1, 2, 4)),
}
LABELS = {"ours": "ours", "trl": "TRL", "padded": "padded"}
REPEATS = 3


def measure_curves(axes: Mapping[str, tuple[str, Sequence[int]]] = AXES) -> dict[str, Any]:
    """Median seconds of an update by axis: `{axis: {"at": [...], "ours" | "trl" | "padded": [...]}}`."""
    curves: dict[str, Any] = {}
    for axis, (_, values) in axes.items():
        curves[axis] = {"at": list(values), **{name: [] for name in LABELS}}
        for value in values:
            for name, seconds in _update_seconds(_at(axis, value)).items():
                curves[axis][name].append(seconds)
    return curves


def draw(curves: Mapping[str, Any], path: Path) -> None:
    """Side by side, each from zero, as a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(curves), figsize=(9, 2.6), layout="constrained", squeeze=False)
    for panel, (axis, curve) in zip(panels[0], curves.items(), strict=True):
        for name, label in LABELS.items():
            panel.plot(curve["at"], curve[name], marker="o", markersize=3, label=label)
        panel.set_xlabel(AXES[axis][0])
        panel.set_ylim(bottom=0)
    panels[0][0].set_ylabel("seconds of an update")
    panels[0][0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial.png")
    figure.savefig(partial, dpi=110)
    plt.close(figure)
    partial.replace(path)


def _at(axis: str, value: int) -> Case:
    changes: dict[str, Any] = {axis: value}
    return replace(BASE, **changes)


def _update_seconds(case: Case) -> dict[str, float]:
    policy, examples = build(case, "float32")
    completions = random_completions(case)
    runners: dict[str, Contender] = {
        "ours": Ours(case, policy, examples),
        "trl": Trl(case, policy, examples),
        "padded": Padded(case, policy, examples),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(REPEATS + 1):
        for name, runner in runners.items():
            policy.model.zero_grad(set_to_none=True)
            start = time.perf_counter()
            runner.update(completions)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}
