"""What a run leaves on disk: metrics as JSON lines, rollouts, examples and images; nothing is ever half-written."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from groundrl.rewards import Boxes, BoxSpace, Completion, Example, Group, Score
from groundrl.rollout.io.pictures import open_image

SCHEMA_VERSION = 1


def write_table(rows: Sequence[Mapping[str, Any]] | pa.Table, path: Path, *, schema: pa.Schema | None = None) -> None:
    """Write rows, or a table, as parquet under a temporary name, then rename; its metadata has the schema version.

    Files of one kind must read as one table: without a schema, a column that has no value here is one of numbers.
    """
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    table = table.cast(
        pa.schema([field.with_type(pa.float64()) if pa.types.is_null(field.type) else field for field in table.schema])
    )
    table = table.replace_schema_metadata({"groundrl_schema": str(SCHEMA_VERSION)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(table, partial, write_page_checksum=True)
    settle(partial, path)


def write_text(text: str, path: Path) -> None:
    """Write a whole text file under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    settle(partial, path)


def settle(partial: Path, path: Path) -> None:
    """Give what was written under a temporary name, a file or a folder, its own; contents reach the disk first."""
    for written in (*partial.rglob("*"), partial):
        _flush(written)
    os.replace(partial, path)
    _flush(path.parent)


def replace_folder(partial: Path, path: Path) -> None:
    """`settle` for a folder in whose place there may be an older one: that one goes when the new one is whole."""
    replaced = path.with_name(f".{path.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if path.exists():
        os.replace(path, replaced)
    settle(partial, path)
    shutil.rmtree(replaced, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file; a torn last line (a kill while it was written) is left out."""
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def json_number(value: float) -> float | None:
    """A number as JSON has it: what is not finite is null."""
    return value if math.isfinite(value) else None


class MetricsFile:
    """`metrics.jsonl`: one object a step, on disk as soon as it is written. `kept` are the rows up to `keep_until`."""

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self.kept = [row for row in read_lines(path) if row["step"] <= keep_until]
        write_text("".join(json.dumps(row) + "\n" for row in self.kept), path)
        self._file = path.open("a")

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one step; the line is on disk before this returns, so that no checkpoint is ahead of it."""
        clean = {key: json_number(value) if isinstance(value, float) else value for key, value in row.items()}
        self._file.write(json.dumps({"schema": SCHEMA_VERSION, **clean}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def completion_rows(
    step: int, groups: Sequence[Group], advantages: Sequence[Sequence[float]], *, fingerprint: str
) -> list[dict[str, Any]]:
    """One row a completion; `advantages` are in group order, one number each or one a token."""
    rows: list[dict[str, Any]] = []
    for place, group in enumerate(groups):
        for completion, score in zip(group.completions, group.scores or (), strict=True):
            rows.append(
                {
                    "step": step,
                    "group": place,
                    "example_id": group.example.id,
                    **completion_columns(completion),
                    **score_columns(score),
                    "advantage": list(advantages[len(rows)]),
                    "fingerprint": fingerprint,
                    "seed_key": f"{group.seed_key}/{len(rows) % len(group.completions)}",
                }
            )
    return rows


def completion_columns(completion: Completion) -> dict[str, Any]:
    """A completion as columns."""
    return {
        "text": completion.text,
        "token_ids": list(completion.token_ids),
        "sampled": list(completion.sampled),
        "logprobs": list(completion.logprobs),
        "finish_reason": completion.finish_reason,
        "policy_version": completion.policy_version,
    }


def read_completion(row: Mapping[str, Any], space: BoxSpace) -> Completion:
    """The completion of `completion_columns`; `space` is its example's."""
    return Completion(
        text=row["text"],
        token_ids=tuple(row["token_ids"]),
        sampled=tuple(row["sampled"]),
        logprobs=tuple(row["logprobs"]),
        finish_reason=row["finish_reason"],
        policy_version=row["policy_version"],
        box_space=space,
    )


def score_columns(score: Score) -> dict[str, Any]:
    """A score as columns: the total, then each part's value, status and detail."""
    columns: dict[str, Any] = {"reward": score.value, "status": score.status, "detail": _detail(score)}
    for name, part in score.parts.items():
        columns |= {
            f"parts/{name}": part.value,
            f"parts/{name}/status": part.status,
            f"parts/{name}/detail": _detail(part),
        }
    return columns


def _detail(score: Score) -> str:
    return json.dumps(score.detail, default=str, ensure_ascii=False)


# Declared, since a part may hold no example that has a label, boxes or an image.
EXAMPLE_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "prompt": pa.string(),
        "messages": pa.string(),
        "images": pa.list_(pa.struct({"sha256": pa.string(), "width": pa.int64(), "height": pa.int64()})),
        "answer": pa.string(),
        "label": pa.string(),
        "labels": pa.list_(pa.string()),
        "boxes": pa.string(),
        "report": pa.string(),
        "choices": pa.list_(pa.string()),
        "columns": pa.string(),
        "box_space": pa.string(),
        "block": pa.string(),
    }
)


class ExampleStore:
    """`examples.parquet` (a folder of parts that reads as one table) and `images/`: each example is stored once.

    Two files may give two examples one id; the second is stored as `id#2`.
    """

    def __init__(self, folder: Path) -> None:
        self.table = folder / "examples.parquet"
        self.images = folder / "images"
        self._known: dict[str, bytes] = {}
        for part in sorted(self.table.glob("part-*.parquet")):
            self._known |= {row["id"]: _digest(row) for row in pq.read_table(part).to_pylist()}

    def add(self, examples: Sequence[Example]) -> list[Example]:
        """Store those not yet known, images first, so that a row never points to a missing file; all, as stored."""
        new, stored = [], []
        begin = len(self._known)
        for example in examples:
            row = self._row(example)
            digest = _digest(row)
            row["id"] = self._name(example.id, digest)
            if row["id"] not in self._known:
                self._known[row["id"]] = digest
                new.append(row)
            stored.append(example if row["id"] == example.id else replace(example, id=row["id"]))
        if new:
            write_table(new, self.table / f"part-{begin:08d}.parquet", schema=EXAMPLE_SCHEMA)
        return stored

    def _name(self, id: str, digest: bytes) -> str:
        return free_name(id, lambda name: self._known.get(name, digest) != digest)

    def _row(self, example: Example) -> dict[str, Any]:
        reference = example.reference
        space = example.box_space
        return {
            "id": example.id,
            "prompt": example.prompt,
            "messages": json.dumps([dict(turn) for turn in example.messages]) if example.messages else None,
            "images": [
                {"sha256": self._image(example, place), "width": image.width, "height": image.height}
                for place, image in enumerate(example.images)
            ],
            "answer": example.answer,
            "label": reference.label,
            "labels": list(reference.labels) if reference.labels is not None else None,
            "boxes": json.dumps(_boxes(reference.boxes)) if reference.boxes is not None else None,
            "report": reference.report,
            "choices": list(reference.choices) if reference.choices is not None else None,
            "columns": json.dumps(dict(reference.columns), default=str),
            "box_space": json.dumps(asdict(space)),
            "block": example.block,
        }

    def _image(self, example: Example, place: int) -> str:
        source = example.images[place].source
        data = source if isinstance(source, bytes) else source.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        path = self.images / f"{digest}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            if data.startswith(b"\x89PNG"):
                partial.write_bytes(data)
            else:
                buffer = io.BytesIO()
                open_image(example.images[place], example.id).save(buffer, format="png")
                partial.write_bytes(buffer.getvalue())
            os.replace(partial, path)  # hundreds of small files that the data still has: not worth a flush each
        return digest


def free_name(id: str, taken: Callable[[str], bool]) -> str:
    """The id, or `id#2`, `id#3`, ...: the first that is not taken."""
    names = itertools.chain((id,), (f"{id}#{count}" for count in itertools.count(2)))
    return next(name for name in names if not taken(name))


def _digest(row: Mapping[str, Any]) -> bytes:
    """Of all that a row holds but its name."""
    content = json.dumps({name: value for name, value in row.items() if name != "id"}, sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=16).digest()


def _boxes(boxes: Boxes) -> dict[str, Any]:
    return {
        "xyxy": boxes.xyxy.tolist(),
        "space": {"kind": boxes.space.kind, "width": boxes.space.width, "height": boxes.space.height},
        "labels": boxes.labels,
        "scores": boxes.scores,
        "image": boxes.image,
    }
