"""MedMO's published tables (arXiv 2602.06965) beside one's own row. The definitions differ: read, do not rank."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "medmo_published.json"
NOTE = (
    "Published rows: MedMO, arXiv 2602.06965, as printed there: graded by MedEvalKit and, for open answers, a language "
    "model. Definitions, prompts and splits differ from those of the rows marked here, so a difference between the two "
    "kinds of rows is no comparison. Two numbers in a cell are closed/all or op4/op5."
)
# table -> what of ours stands in its columns: a metric, and how our row is marked
OURS: dict[str, dict[str, tuple[str, ...]]] = {
    "vqa_accuracy": {
        "compat: medevalkit": ("medevalkit",),
        "strict: choice, closed/open": ("choice_accuracy", "closed_accuracy", "exact_match"),
    },
    "text_qa_accuracy": {
        "compat: medevalkit": ("medevalkit",),
        "strict: choice, closed/open": ("choice_accuracy", "closed_accuracy", "exact_match"),
    },
    "grounding_iou": {"IoU of true boxes": ("iou_of_true_boxes",), "first box": ("ave_iou",)},
    "report_generation": {"this tool's": ("rouge_l", "cider")},
}
REPORT_COLUMNS = {"ROUGE-L": "rouge_l", "CIDEr": "cider"}


@lru_cache(maxsize=1)
def tables() -> dict[str, dict[str, Any]]:
    """The published tables by name: `columns`, and `rows` of numbers by model."""
    content: dict[str, Any] = json.loads(FILE.read_text())
    return {name: table for name, table in content.items() if isinstance(table, dict)}


def beside(model: str, datasets: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Table -> its header and rows, published ones first, of the columns whose data set was evaluated here.

    A data set belongs to a column by its name, whatever its case and punctuation (`medqa` to MedQA).
    """
    result = {}
    for name, table in tables().items():
        shown = [index for index, column in enumerate(table["columns"]) if _dataset(name, column, datasets) is not None]
        if not shown:
            continue
        columns = [table["columns"][index] for index in shown]
        rows = [[who, *(_cell(cells[index]) for index in shown)] for who, cells in table["rows"].items()]
        for mark, metrics in OURS[name].items():
            own = [_own(name, column, datasets, metrics) for column in columns]
            if any(cell != "-" for cell in own):
                rows.append([f"**{model}** ({mark})", *own])
        result[name] = (["model", *columns], rows)
    return result


def _dataset(table: str, column: str, datasets: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The evaluated data set of a column."""
    words = column.partition(" (")[0]
    if table == "report_generation":
        words, _, metric = words.rpartition(" ")
        if metric not in REPORT_COLUMNS:
            return None
    wanted = _plain(words)
    return next((found for name, found in datasets.items() if _plain(name) == wanted), None)


def _own(table: str, column: str, datasets: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> str:
    found = _dataset(table, column, datasets)
    if table == "report_generation":
        metrics = (REPORT_COLUMNS[column.rpartition(" ")[2]],)
    figures = (found or {}).get("metrics", {})
    if metrics == ("medevalkit",) and column.endswith("(closed/all)"):
        metrics = ("medevalkit_closed", "medevalkit")
    values = [figures[metric]["value"] for metric in metrics if metric in figures]
    return "/".join(f"{100 * value:.1f}" for value in values if value is not None) or "-"


def _cell(value: float | Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return "/".join(f"{each:.1f}" for each in value) if isinstance(value, list) else f"{value:.1f}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
