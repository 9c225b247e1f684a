"""An evaluation as Markdown: each data set's figures with intervals and n, sizes, published rows, definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from groundrl.experiments.evals.medmo_tables import NOTE, beside
from groundrl.experiments.metrics import Metric
from groundrl.experiments.metrics.own import recorded
from groundrl.rewards.core.intervals import FEWEST_BLOCKS


def markdown(content: Mapping[str, Any]) -> str:
    """The content of evaluation.json for a person."""
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    metrics = recorded(content)
    yield f"# {content['name']}: {content['model']}"
    yield ""
    yield "Value, 95 % interval (Student's t over independent blocks; * fewer than 5: not to be trusted), n examples, "
    yield "blocks; shares in percent."
    for title, key in (("Data set", "datasets"), ("Task, all its data sets", "tasks")):
        rows = [
            [name, metric, *shown(metrics[metric], found)]
            for name, each in content[key].items()
            for metric, found in each["metrics"].items()
        ]
        if rows:
            yield from ("", *table([title, "metric", "value", "95 %", "n", "blocks"], rows))
    sizes = [
        [name, size, metric, *shown(metrics["iou_of_true_boxes"], found)]
        for name, each in content["datasets"].items()
        for size, figures in each.get("by_size", {}).items()
        for metric, found in figures.items()
    ]
    if sizes:
        yield from ("", "By size of the true box (small: up to 1 % of the image, medium: up to 10 %), n boxes:", "")
        yield from table(["data set", "size", "metric", "value", "95 %", "n", "blocks"], sizes)
    yield from _counts(content)
    yield from _published(content)
    yield from ("", "## Definitions", "")
    used = dict.fromkeys(metric for each in content["datasets"].values() for metric in each["metrics"])
    yield from (f"- `{metric}`: {metrics[metric].definition.removesuffix('.')}." for metric in used)


def _counts(content: Mapping[str, Any]) -> Iterator[str]:
    """What is not in the figures, and why."""
    for name, each in content["datasets"].items():
        if each["errors"]:
            yield from (
                "",
                f"**{name}: {each['errors']} of {each['examples']} examples have no answer** and are left out:",
            )
            yield from (f"- {count} x {reason}" for reason, count in each["reasons"].items())
        if each["empty"]:
            yield from ("", f"{name}: {each['empty']} rows of the file are too empty to be examples and are left out.")
        if each["left_out"]:
            yield from ("", f"{name}: not measured, name a tool in the configuration: {', '.join(each['left_out'])}.")
        for metric, (count, first) in each.get("unfit", {}).items():
            yield from ("", f"{name}: {metric} leaves out {count} of {each['examples']} examples; {first}.")
        for metric, found in each["metrics"].items():
            if found.get("failed"):
                yield from ("", f"{name}: {metric} failed on {found['failed']} answers, which are not scored.")


def _published(content: Mapping[str, Any]) -> Iterator[str]:
    found = beside(content["model"], content["datasets"])
    if found:
        yield from ("", "## Beside published results", "", NOTE)
    for name, (header, rows) in found.items():
        yield from ("", f"{name}:", "", *table(header, rows))


def shown(metric: Metric, found: Mapping[str, Any], *, signed: bool = False) -> list[str]:
    """Value, interval (a star where it is over too few blocks), n, blocks as text."""
    lo, hi = found["ci95"]

    def number(value: float | None) -> str:
        if value is None:
            return "-"
        return f"{100 * value:{'+' if signed else ''}.1f}" if metric.percent else f"{value:{'+' if signed else ''}.3f}"

    doubt = "*" * (found["num_blocks"] < FEWEST_BLOCKS)
    span = "-" if lo is None or hi is None else f"[{number(lo)}, {number(hi)}]{doubt}"
    return [number(found["value"]), span, str(found["n"]), str(found["num_blocks"])]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
