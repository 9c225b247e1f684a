"""What stands in the page, as JSON: curves, examples, groups with their completions, answers before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from groundrl.experiments.analysis.page.boxes import box_entries
from groundrl.experiments.analysis.page.curves import curve_panels
from groundrl.experiments.analysis.page.last_two_stages import answer_pairs
from groundrl.experiments.analysis.page.pictures import Pictures
from groundrl.experiments.analysis.page.token_spans import TokenSpans
from groundrl.experiments.rescoring.log import Log
from groundrl.rewards import Completion, Example

LIMIT = 48_000_000  # bytes: with what escaping adds, a page stays under 50 MB


def page_content(log: Log, *, limit: int = LIMIT) -> dict[str, Any]:
    """The content of a log's page, thinned out to whole groups, evenly spaced, where it would be larger than `limit`.

    ValueError for a log without completions.
    """
    if not log.table.num_rows:
        raise ValueError(f"{log.name} has no recorded completions: nothing to look at")
    names = [name[6:] for name in log.table.column_names if name.startswith("parts/") and name.count("/") == 1]
    pictures, spans = Pictures(), TokenSpans.of_run(log.folder)
    bounds = _bounds(log.table)
    groups, examples = [], {}
    sizes: list[int] = []
    for begin, end in bounds:
        rows = log.table.slice(begin, end - begin).to_pylist()
        example = log.examples[rows[0]["example_id"]]
        entry = {
            "step": rows[0]["step"],
            "place": rows[0]["group"],
            "example": example.id,
            "rows": [completion_entry(row, example, names, spans) for row in rows],
        }
        size = len(json.dumps(entry, ensure_ascii=False).encode())
        if example.id not in examples:
            examples[example.id] = example_entry(example, pictures)
            size += len(json.dumps(examples[example.id], ensure_ascii=False).encode()) + pictures.size(example)
        groups.append(entry)
        sizes.append(size)
    kept = _thinned(sizes, limit)
    shown = [groups[index] for index in kept]
    pairs = answer_pairs(log.folder, log.examples) if log.folder is not None else {"stages": [], "rows": []}
    needed = {group["example"] for group in shown} | {row["example"] for row in pairs["rows"]}
    examples |= {id: example_entry(log.examples[id], pictures) for id in needed if id not in examples}
    shown_examples = {id: examples[id] for id in needed}
    return {
        "notes": [*log.notes, *_notice(shown, groups)],
        "parts": names,
        "tokens": spans.known,
        "curves": curve_panels(log),
        "images": {name: pictures.data[name] for entry in shown_examples.values() for name in entry["images"]},
        "examples": shown_examples,
        "groups": shown,
        "pairs": pairs,
    }


def completion_entry(
    row: Mapping[str, Any], example: Example, names: Sequence[str], spans: TokenSpans
) -> dict[str, Any]:
    """One completion: text, total, status, advantage, its parts as [value, status, detail], boxes, tokens."""
    lengths = spans.lengths(row)
    return {
        "text": row["text"],
        "reward": _rounded(row.get("reward")),
        "status": row.get("status"),
        "detail": _said(row.get("detail")),
        "advantage": [_rounded(value) for value in row["advantage"]] if row.get("advantage") else None,
        "finish": row.get("finish_reason"),
        "parts": [
            [_rounded(row[f"parts/{n}"]), row.get(f"parts/{n}/status"), _said(row.get(f"parts/{n}/detail"))]
            for n in names
        ],
        "boxes": box_entries(Completion(text=row["text"], box_space=example.box_space).boxes, example),
        "tokens": lengths,
        "logprobs": [_rounded(value, 2) for value in row["logprobs"]] if lengths else None,
    }


def example_entry(example: Example, pictures: Pictures) -> dict[str, Any]:
    """One example: what was asked, what is true, its images by name."""
    reference = example.reference
    truth = {
        "label": reference.label,
        "labels": reference.labels,
        "report": reference.report,
        "choices": reference.choices,
        **{name: str(value) for name, value in reference.columns.items()},
    }
    return {
        "prompt": example.prompt if example.prompt is not None else _turns(example),
        "truth": {name: value for name, value in truth.items() if value is not None},
        "images": pictures.names(example),
        "boxes": box_entries(reference.boxes, example),
    }


def _bounds(table: pa.Table) -> list[tuple[int, int]]:
    indices = list(zip(table["step"].to_pylist(), table["group"].to_pylist(), strict=True))
    begins = [row for row in range(len(indices)) if row == 0 or indices[row] != indices[row - 1]]
    return list(zip(begins, [*begins[1:], len(indices)], strict=True))


def _thinned(sizes: Sequence[int], limit: int) -> list[int]:
    """Every k-th place, with the smallest k for which their sizes fit."""
    step = 1
    while sum(sizes[::step]) > limit and step < len(sizes):
        step += 1
    return list(range(0, len(sizes), step))


def _notice(shown: Sequence[Any], groups: Sequence[Any]) -> list[str]:
    if len(shown) == len(groups):
        return []
    return [f"This page shows {len(shown)} of {len(groups)} groups, evenly spaced: all would exceed 50 MB."]


def _said(detail: str | None) -> str | None:
    return None if detail in (None, "", "{}") else detail


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None or value != value or abs(value) == float("inf") else round(value, digits)


def _turns(example: Example) -> str:
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in example.messages or ())
