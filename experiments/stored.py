"""Reading a run back: its examples and completions as the words they were, long after the data has moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from groundrl.rewards import Boxes, BoxSpace, Example, Group, ImageRef, Reference
from groundrl.rollout.records import read_completion


def read_rollouts(folder: Path) -> pa.Table:
    """All recorded completions, one row each, in the order in which they were made."""
    files = sorted((folder / "rollouts").glob("step-*.parquet"))
    return (
        pa.concat_tables([pq.read_table(file) for file in files], promote_options="default") if files else pa.table({})
    )


def read_examples(folder: Path) -> dict[str, Example]:
    """Every example that a run has recorded, by id; images lie in the run's `images/`."""
    examples = {}
    for part in sorted((folder / "examples.parquet").glob("part-*.parquet")):
        for row in pq.read_table(part).to_pylist():
            examples[row["id"]] = _example(row, folder / "images")
    return examples


def read_groups(folder: Path, *, step: int) -> list[Group]:
    """The groups of one step without their scores: what a reward needs to score them anew."""
    path = folder / "rollouts" / f"step-{step:06d}.parquet"
    if not path.is_file():
        known = sorted(int(file.stem.removeprefix("step-")) for file in path.parent.glob("step-*.parquet"))
        span = f"rollouts of steps {known[0]} to {known[-1]}" if known else "no rollouts"
        raise ValueError(f"there is no rollout of step {step}; {folder} has {span}")
    return group_rows(pq.read_table(path).to_pylist(), read_examples(folder))


def group_rows(rows: list[dict[str, Any]], examples: Mapping[str, Example]) -> list[Group]:
    """The groups of recorded completions, in their order."""
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["step"], row["group"]), []).append(row)
    return [
        Group(
            example=examples[members[0]["example_id"]],
            completions=tuple(read_completion(row, examples[row["example_id"]].box_space) for row in members),
            index=place,
            seed_key=members[0]["seed_key"].rpartition("/")[0],
        )
        for (_, place), members in groups.items()
    ]


def _example(row: Mapping[str, Any], images: Path) -> Example:
    return Example(
        id=row["id"],
        prompt=row["prompt"],
        messages=tuple(json.loads(row["messages"])) if row["messages"] else None,
        images=tuple(
            ImageRef(source=images / f"{image['sha256']}.png", width=image["width"], height=image["height"])
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
        box_space=BoxSpace(**json.loads(row["box_space"])),
        block=row["block"],
    )


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
