"""A check of data as files and in the terminal: check.json, the tables, and a sheet of pictures with their boxes."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from groundrl.experiments.data.check.faults import DataReport, SplitFacts
from groundrl.rewards import Example
from groundrl.rollout.io.records import write_text

COLUMNS = 6  # pictures in a row of the sheet
LABELS, FAULTS = 12, 20  # of a split in the terminal; check.json has all


def write_check(report: DataReport, folder: Path) -> list[Path]:
    """Write check.json, and a PNG for each split that has pictures; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "check.json"]
    write_text(json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n", files[0])
    for split in report.splits:
        if split.shown:
            files.append(folder / f"{re.sub(r'[^0-9A-Za-z.-]+', '_', split.name).strip('_')}.png")
            draw_sheet(split.name, split.shown, files[-1])
    return files


def draw_sheet(title: str, examples: Sequence[Example], path: Path) -> None:
    """The examples' first images, true boxes on them, under each its id and its gold answer."""
    import matplotlib.pyplot as plt  # here: data without pictures need not wait for it

    from groundrl.experiments.drawing.boxes import draw_boxes
    from groundrl.experiments.drawing.curves import save_figure

    rows = -(-len(examples) // COLUMNS)
    figure = plt.figure(figsize=(2.6 * COLUMNS, 3.0 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for index, one in enumerate(axes.ravel()):
        if index >= len(examples):
            one.set_axis_off()
            continue
        example = examples[index]
        draw_boxes(one, example, None, _short(example.id, 36))
        said = example.answer if example.answer is not None else example.reference.report or ""
        one.text(0.5, -0.03, "\n".join(textwrap.wrap(said, 40, max_lines=2)), **_CAPTION, transform=one.transAxes)
    figure.suptitle(f"{title}: {len(examples)} examples, evenly spaced, with their true boxes", fontsize=10)
    save_figure(figure, path)


_CAPTION: dict[str, Any] = {"fontsize": 6, "ha": "center", "va": "top", "color": "0.3", "parse_math": False}


def tables(report: DataReport) -> list[Any]:
    """The report as rich renderables: splits, labels, tokens, faults, leaks, and one sentence."""
    found: list[Any] = [_counts(report.splits)]
    for split in report.splits:
        for what, counter in (("labels", split.labels), ("boxes an example", split.boxes)):
            if counter:
                found.append(Text(f"{split.name}, {what}: {_histogram(counter)}"))
        for fault in split.faults[:FAULTS]:
            found.append(Text(f"fault: {fault}", style="red"))
        if len(split.faults) > FAULTS:
            found.append(Text(f"and {len(split.faults) - FAULTS} more faults of {split.name}: check.json", style="red"))
    for leak in report.leaks:
        left, right = leak.splits
        what = f"{leak.shared} {leak.kind}{'s' if leak.shared > 1 else ''}"
        first = f"example {leak.examples[0]!r} and {leak.examples[1]!r} ({_short(leak.value, 60)})"
        found.append(Text(f"leak: {left} and {right} share {what}; the first: {first}", style="red"))
    faults = sum(len(split.faults) for split in report.splits)
    verdict = "sound" if report.sound else f"not sound: {faults} fault(s), {len(report.leaks)} leak(s)"
    found.append(Text(f"the data are {verdict}", style="green" if report.sound else "bold red"))
    return found


def _counts(splits: Sequence[SplitFacts]) -> Table:
    """One column a split: there are few splits and many facts."""
    table = Table()
    table.add_column("")
    for split in splits:
        table.add_column(escape(split.name), justify="right")
    rows = {
        "tasks": [", ".join(f"{name} ({n})" for name, n in split.tasks.most_common()) for split in splits],
        "examples": [str(split.examples) for split in splits],
        "checked": [str(split.checked) for split in splits],
        "left out as empty": [str(split.left_out) for split in splits],
        "blocks": [str(len(split.seen.get("block", {}))) for split in splits],
        "distinct images": [str(len(split.seen.get("image", {}))) for split in splits],
        "prompt tokens": [_tokens(split.tokens.get("prompt")) for split in splits],
        "answer tokens": [_tokens(split.tokens.get("answer")) for split in splits],
        "faults": [str(len(split.faults)) for split in splits],
    }
    for name, cells in rows.items():
        table.add_row(name, *map(escape, cells))
    return table


def _tokens(summary: dict[str, float] | None) -> str:
    return "-" if summary is None else f"median {summary['median']:.0f}, most {summary['max']:.0f}"


def _histogram(counter: Counter[Any]) -> str:
    most = ", ".join(f"{_short(str(name), 40)} {n}" for name, n in counter.most_common(LABELS))
    return f"{most}{f', and {len(counter) - LABELS} more' if len(counter) > LABELS else ''}"


def _short(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3]}..."
