"""Parquet files and folders that Hugging Face's `datasets` has saved, as tables; images stay encoded bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa


class ArrowRows:
    """The rows of an Arrow table, `pyarrow.Table` or what `datasets` maps from disk."""

    def __init__(self, path: Path, table: Any, columns: tuple[str, ...]) -> None:
        self.path = path
        self.table = table
        self.columns = columns

    def __len__(self) -> int:
        return len(self.table)

    def row(self, index: int) -> Mapping[str, Any]:
        """The row; an image is `{bytes, path}`."""
        if isinstance(self.table, pa.Table):
            row: Mapping[str, Any] = self.table.slice(index, 1).to_pylist()[0]
            return row
        found: pa.Table = self.table[index : index + 1]
        return found.to_pylist()[0]  # type: ignore[no-any-return]  # pyarrow has no types

    def where(self, index: int) -> str:
        """The file and the row from 1: there are no lines."""
        return f"{self.path}: row {index + 1}"


def open_parquet(path: Path) -> ArrowRows:
    """A parquet file, read whole: what does not fit in memory is better saved by `datasets`, which maps it."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a parquet file: {error}") from None
    return ArrowRows(path, table, tuple(table.column_names))


def open_folder(path: Path, *, split: str | None) -> ArrowRows:
    """A folder of `Dataset.save_to_disk` or `DatasetDict.save_to_disk`; of the latter, the split."""
    import datasets

    if not any((path / name).is_file() for name in ("dataset_dict.json", "dataset_info.json")):
        raise ValueError(f"{path} is not a folder that `datasets` has saved; name its files, such as {path}/*.parquet")
    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be opened by `datasets`: {error}") from None
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise ValueError(f"{path} has the splits {', '.join(found)}; set `split` to one of them, got {split!r}")
        found = found[split]
    elif split is not None:
        raise ValueError(f"`split` is {split!r}, but {path} is a single data set; leave it out")
    return ArrowRows(path, found.with_format("arrow"), tuple(found.column_names))
