"""From answers to figures: each metric by data set, by task and by size of object, with its interval over blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from groundrl.experiments.evals.config import DataSet
from groundrl.experiments.metrics import Answered, Metric, Tools
from groundrl.experiments.metrics.figures import unfit
from groundrl.experiments.metrics.grounding import SIZES, sizes, true_box_ious
from groundrl.rewards.core.intervals import block_interval, block_sums, ratio

Values = Float[np.ndarray, "N S"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One data set's answers as numbers: ids, blocks, and each metric's statistics, in one order."""

    name: str
    task: str
    ids: tuple[str, ...]
    blocks: tuple[str, ...]
    statistics: Mapping[str, Values]

    def columns(self) -> list[dict[str, Any]]:
        """One row an example, as `scores.parquet` holds it; null where a metric does not apply."""
        lists = {name: [_listed(row) for row in values] for name, values in self.statistics.items()}
        return [
            {"dataset": self.name, "task": self.task, "example_id": id, "block": block}
            | {name: values[place] for name, values in lists.items()}
            for place, (id, block) in enumerate(zip(self.ids, self.blocks, strict=True))
        ]


def score(
    data: DataSet, answers: Sequence[Answered], tools: Tools, metrics: Mapping[str, Metric], own: Collection[str]
) -> tuple[Scored, list[str]]:
    """The numbers of a data set, and the metrics that were left out since their tool was not named.

    `metrics` are all by name, `own` the names of the user's among them.
    """
    measured = [data.measured(each.example, own) for each in answers]
    wanted = {metric: [place for place, names in enumerate(measured) if metric in names] for metric in metrics}
    left_out = [
        metric
        for metric, places in wanted.items()
        if places and (need := metrics[metric].needs) and getattr(tools, need) is None
    ]
    tasks = dict.fromkeys(data.task_of(each.example).name for each in answers)
    scored = Scored(
        name=data.name,
        task=", ".join(tasks),
        ids=tuple(each.example.id for each in answers),
        blocks=tuple(each.example.block or each.example.id for each in answers),
        statistics={
            metric: _spread(metrics[metric].statistics([answers[place] for place in places], tools), places, answers)
            for metric, places in wanted.items()
            if places and metric not in left_out
        },
    )
    return scored, left_out


def unfit_examples(
    data: DataSet, answers: Sequence[Answered], metrics: Mapping[str, Metric], own: Collection[str]
) -> dict[str, list[Any]]:
    """Metric -> how many examples it leaves out though they have what it reads, and the first with its reason."""
    reasons = {
        name: unfit(metric, (each.example for each in answers if name in data.measured(each.example, own)))
        for name, metric in metrics.items()
    }
    return {name: [len(each), each[0]] for name, each in reasons.items() if each}


def _spread(values: Float[np.ndarray, "K S"], places: Sequence[int], answers: Sequence[Answered]) -> Values:
    """The numbers of some of the answers as those of all, nan for the others."""
    result = np.full((len(answers), values.shape[1]), np.nan)
    result[places] = values
    return result


def figures(scored: Scored, metrics: Mapping[str, Metric]) -> dict[str, dict[str, Any]]:
    """Metric -> its value, 95 % interval over blocks, n (examples to which it applies) and failures of its tool."""
    found = {name: figure_of(metrics[name], values, scored.blocks) for name, values in scored.statistics.items()}
    return {name: each for name, each in found.items() if each is not None}


def figure_of(metric: Metric, values: Values, blocks: Sequence[str]) -> dict[str, Any] | None:
    """The figure over the rows to which the metric applies, or None where it applies to none."""
    applies = ~np.isnan(values).any(axis=1)
    if not applies.any():
        return None
    sums = block_sums(values[applies], [block for block, own in zip(blocks, applies, strict=True) if own])
    total = sums.sum(axis=0)
    failed = int(total[metric.failed]) if metric.failed is not None else 0
    value = float(metric.figure(total))
    return {
        "value": value if np.isfinite(value) else None,
        "ci95": block_interval(sums, metric.figure),
        "n": int(applies.sum()) - failed,
        "num_blocks": len(sums),
        **({"failed": failed} if metric.failed is not None else {}),
    }


def joined(parts: Sequence[Scored]) -> Scored:
    """The data sets of one task as one; a metric whose numbers are of each set's own kind (its labels) falls away."""
    first = parts[0]
    shared = [
        name
        for name, values in first.statistics.items()
        if all(name in each.statistics and each.statistics[name].shape[1] == values.shape[1] for each in parts)
        and name != "label_f1_macro"  # its columns are the labels of a data set
    ]
    return Scored(
        name=first.task,
        task=first.task,
        ids=tuple(f"{each.name}/{id}" for each in parts for id in each.ids),
        blocks=tuple(f"{each.name}/{block}" for each in parts for block in each.blocks),
        statistics={name: np.concatenate([each.statistics[name] for each in parts]) for name in shared},
    )


def by_size(answers: Sequence[Answered]) -> dict[str, dict[str, Any]]:
    """Size -> figures of the true boxes of that size, a miss 0: mean IoU, and the share found with IoU at least 0.5."""
    rows: dict[str, list[tuple[str, float]]] = {size: [] for size in SIZES}
    for each in answers:
        truth, found = each.example.reference.boxes, true_box_ious(each.completion, each.example)
        if truth is not None and found is not None:
            for size, iou in zip(sizes(truth), found.tolist(), strict=True):
                rows[size].append((each.example.block or each.example.id, iou))
    return {size: _object_figures(own) for size, own in rows.items() if own}


def _object_figures(rows: Sequence[tuple[str, float]]) -> dict[str, Any]:
    result = {}
    for name, values in (
        ("iou_of_true_boxes", [iou for _, iou in rows]),
        ("recall_50", [float(iou >= 0.5) for _, iou in rows]),
    ):
        sums = block_sums(np.array([[value, 1.0] for value in values]), [block for block, _ in rows])
        result[name] = {
            "value": float(ratio(sums.sum(axis=0))),
            "ci95": block_interval(sums),
            "n": len(rows),
            "num_blocks": len(sums),
        }
    return result


def _listed(row: Float[np.ndarray, " S"]) -> list[float] | None:
    return None if np.isnan(row).any() else [float(value) for value in row]
