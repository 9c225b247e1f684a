"""The curves of a run as panels of lines; of a foreign log the means of its rewards by step."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from groundrl.experiments.drawing.series import part_names
from groundrl.experiments.rescoring.log import Log
from groundrl.experiments.runs.reader import Run

PANELS: dict[str, dict[str, str]] = {
    "IoU of training rollouts": {"rollout/iou_mean": "IoU"},
    "groups of a step": {"groups/informative": "informative", "groups/zero_variance": "zero variance"},
    "completion length (tokens)": {"completion_length/mean": "mean"},
    "policy": {"entropy": "entropy (nats a token)", "approx_kl": "approximate KL to the old policy"},
    "SFT loss": {"loss": "loss"},
}


def curve_panels(log: Log) -> list[dict[str, Any]]:
    """`{"title", "lines": [{"name", "points": [[step, value], ...]}]}` each; without what was never recorded."""
    if log.folder is None:
        return _means(log)
    rows = Run(log.folder).metrics
    rl = [row for row in rows if "reward/mean" in row]
    reward = {"reward/mean": "total", **{f"reward/{part}/mean": part for part in part_names(rl)}}
    panels = []
    for title, names in {"reward and its parts": reward, **PANELS}.items():
        chosen = [row for row in rows if "reward/mean" not in row] if title == "SFT loss" else rl
        lines = [
            {"name": label, "points": [[r["step"], round(r[key], 5)] for r in chosen if r.get(key) is not None]}
            for key, label in names.items()
        ]
        if kept := [line for line in lines if line["points"]]:
            panels.append({"title": title, "lines": kept})
    return panels


def _means(log: Log) -> list[dict[str, Any]]:
    names = [n for n in log.table.column_names if n == "reward" or (n.startswith("parts/") and n.count("/") == 1)]
    lines = []
    steps = log.table["step"].to_pylist()
    for name in names:
        found: dict[int, list[float]] = defaultdict(list)
        for step, value in zip(steps, log.table[name].to_pylist(), strict=True):
            if value is not None:
                found[step].append(value)
        points = [[step, round(sum(values) / len(values), 5)] for step, values in sorted(found.items())]
        lines.append({"name": "total" if name == "reward" else name[6:], "points": points})
    kept = [line for line in lines if line["points"]]
    return [{"title": "reward and its parts", "lines": kept}] if kept else []
