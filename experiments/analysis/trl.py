"""TRL's completions: what `GRPOTrainer` writes with `log_completions=True`, `completions/completions_00010.parquet`.

Columns (TRL 1.16): `step`, `prompt` and `completion` (text, or chat turns), one column for each reward function,
whatever was logged with `log_extra`, `advantage`. There is no total, and the weights are not written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from groundrl.experiments.data.formats.values import shown
from groundrl.experiments.rescoring.log import Log, Record, gather_log
from groundrl.rewards import Example, rel1000
from groundrl.rewards.run.interop import example_of, text_of

NEEDED = ("step", "prompt", "completion", "advantage")
REFERENCE = ("id", "label", "labels", "boxes", "report", "choices")  # logged columns that tell examples apart
NOTE = "TRL's log has no totals: the advantages stand in for them"


def read_trl(files: Sequence[Path], name: str) -> Log:
    """The log of these files. Columns of numbers are rewards; others are data, under the names that `to_trl` knows.

    Boxes are in rel1000, as there by default. A batch that TRL writes again at a later step is read once. ValueError
    for a file that is something else.
    """
    return gather_log(name, _records(files), notes=(NOTE,))


def _records(files: Sequence[Path]) -> Iterator[Record]:
    previous: list[Any] = []
    for file in files:
        table = _table(file)
        names = [field.name for field in table.schema if field.name not in NEEDED and _is_number(field.type)]
        columns = table.to_pydict()
        batch = [columns[name] for name in NEEDED if name != "step"]
        if batch == previous:
            continue
        previous = batch
        others = [name for name in columns if name not in (*NEEDED, *names)]
        for rows in _groups(columns, others):
            example = _example(file, rows, columns, others)
            for row in rows:
                yield Record(
                    step=columns["step"][row],
                    example=example,
                    text=_text(file, row, columns["completion"][row]),
                    advantage=columns["advantage"][row],
                    parts={name: _value(columns[name][row]) for name in names},
                )


def _groups(columns: Mapping[str, Sequence[Any]], others: Sequence[str]) -> list[list[int]]:
    """The rows of one prompt and one truth each."""
    known = [name for name in others if name in REFERENCE]
    groups: dict[str, list[int]] = {}
    for row, prompt in enumerate(columns["prompt"]):
        truth = [columns[name][row] for name in known]
        groups.setdefault(json.dumps([prompt, truth], default=str), []).append(row)
    return list(groups.values())


def _example(file: Path, rows: Sequence[int], columns: Mapping[str, Sequence[Any]], others: Sequence[str]) -> Example:
    """The example of a group; what differs between its completions is of them, and left out."""
    first = rows[0]
    same = {
        name: columns[name][first] for name in others if all(columns[name][row] == columns[name][first] for row in rows)
    }
    try:
        return example_of(columns["prompt"][first], {"id": f"{file.stem}:{first}", **same}, box_space=rel1000)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: row {first}: not a prompt and reference as TRL writes them: {error}") from None


def _text(file: Path, row: int, completion: Any) -> str:
    try:
        return text_of(completion)
    except (TypeError, KeyError, IndexError):
        raise ValueError(f"{file}: row {row}: `completion` is text or chat turns, got {shown(completion)}") from None


def _value(found: float | None) -> float | None:
    """A reward function's value; not a number is how TRL writes that it does not apply."""
    return None if found is None or found != found else float(found)


def _table(file: Path) -> pa.Table:
    try:
        table = pq.ParquetFile(file).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{file} is not a parquet file: {error}") from None
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise ValueError(
            f"{file} is not TRL's completions: it has no {', '.join(missing)}; it has {found}; "
            f"expected {', '.join(NEEDED)} and a column for each reward function"
        )
    return table


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
