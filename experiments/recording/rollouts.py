"""Reading a run back: its examples and completions as the words they were, long after the data has moved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from groundrl.rewards import Boxes, BoxSpace, Completion, Example, Group, ImageRef, Reference


def read_rollouts(folder: Path, *, step: int | None = None) -> pa.Table:
    """All recorded completions, or those of one step: one row each, in the order in which they were made."""
    files = sorted((folder / "rollouts").glob("step-*.parquet"))
    if step is not None:
        files = [file for file in files if _step(file) == step] or _absent(folder, step, files)
    # a file read whole, without `read_table`'s search for partitions: four times as fast for small files
    tables = [pq.ParquetFile(file).read() for file in files]
    return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})


def read_examples(folder: Path) -> dict[str, Example]:
    """Every example that a run has recorded, by id; images lie in the run's `images/`."""
    examples = {}
    for part in sorted((folder / "examples.parquet").glob("part-*.parquet")):
        for row in pq.ParquetFile(part).read().to_pylist():
            examples[row["id"]] = _example(row, folder / "images")
    return examples


def groups_of(table: pa.Table, examples: Mapping[str, Example]) -> Iterator[Group]:
    """The groups of recorded completions, in their order, one at a time: a log may be larger than memory likes.

    Rows of one step and group stand side by side. A column that a log lacks is left at the default of `Completion`.
    """
    if not table.num_rows:
        return
    columns = {name: table[name].to_pylist() for name in _SCALARS if name in table.column_names}
    lists = {name: _tuples(table[name]) for name in _LISTS if name in table.column_names}
    fields = [name for name in (*columns, *lists) if name not in _PLACE]
    made = zip(*(columns[name] if name in columns else lists[name] for name in fields), strict=True)
    indices = list(zip(columns["step"], columns["group"], strict=True))
    begins = [row for row in range(len(indices)) if row == 0 or indices[row] != indices[row - 1]]
    for begin, end in zip(begins, [*begins[1:], len(indices)], strict=True):
        example = examples[columns["example_id"][begin]]
        space = example.box_space
        yield Group(
            example=example,
            completions=tuple(
                Completion(box_space=space, **dict(zip(fields, next(made), strict=True))) for _ in range(begin, end)
            ),
            index=indices[begin][1],
            seed_key=columns["seed_key"][begin].rpartition("/")[0],
        )


def origin(group: Group) -> tuple[str, int]:
    """The stage in which a recorded group was sampled, and the step inside it, from 0."""
    stage, step, _ = group.seed_key.rsplit("/", 3)[1:]
    return stage, int(step)


_PLACE = ("step", "group", "example_id", "seed_key")
_SCALARS = (*_PLACE, "text", "finish_reason", "policy_version")
_LISTS = ("token_ids", "sampled", "logprobs")


def _tuples(column: pa.ChunkedArray) -> Iterator[tuple[Any, ...]]:
    """Each row of a column of lists."""
    for chunk in column.chunks:
        values = chunk.flatten().to_numpy(zero_copy_only=False).tolist()
        offsets = (chunk.offsets.to_numpy() - chunk.offsets[0].as_py()).tolist()
        yield from (tuple(values[begin:end]) for begin, end in pairwise(offsets))


def _step(file: Path) -> int:
    return int(file.stem.removeprefix("step-"))


def _absent(folder: Path, step: int, files: Sequence[Path]) -> NoReturn:
    span = f"rollouts of steps {_step(files[0])} to {_step(files[-1])}" if files else "no rollouts"
    raise ValueError(f"there is no rollout of step {step}; {folder} has {span}")


def _example(row: Mapping[str, Any], images: Path) -> Example:
    return Example(
        id=row["id"],
        prompt=row["prompt"],
        messages=tuple(json.loads(row["messages"])) if row["messages"] else None,
        images=tuple(
            ImageRef(source=Path(f"{images}/{image['sha256']}.png"), width=image["width"], height=image["height"])
            for image in row["images"]
        ),
        answer=row["answer"],
        reference=Reference(
            label=row["label"],
            labels=_tuple(row["labels"]),
            boxes=_boxes(json.loads(row["boxes"])) if row["boxes"] else None,
            report=row["report"],
            choices=_tuple(row["choices"]),
            columns=json.loads(row["columns"]),
        ),
        box_space=_space(row["box_space"]),
        block=row["block"],
    )


@lru_cache(maxsize=64)
def _space(written: str) -> BoxSpace:
    return BoxSpace(**json.loads(written))


def _boxes(found: Mapping[str, Any]) -> Boxes:
    return Boxes(
        xyxy=np.array(found["xyxy"], dtype=np.float64).reshape(-1, 4),
        space=BoxSpace(**found["space"]),
        labels=_tuple(found["labels"]),
        scores=_tuple(found["scores"]),
        image=_tuple(found["image"]),
    )


def _tuple(values: Any) -> Any:
    return tuple(values) if values is not None else None
