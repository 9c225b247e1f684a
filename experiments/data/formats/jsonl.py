"""Objects and examples from a file with one on each line, read when asked for; memory holds two numbers a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from groundrl.experiments.data.formats.example_json import example_from_json, example_id
from groundrl.experiments.data.formats.values import shown
from groundrl.rewards import DataError, Example

CHUNK = 4 << 20  # bytes read at a time
FIRST = 16  # objects that say which columns there are
WHITE = np.frombuffer(b" \t\r\n\v\f", dtype=np.uint8)


class JsonLines:
    """The objects of a .jsonl file. Only where lines begin is read at the start (16 bytes a line are kept).

    Blank lines do not count; an empty file has length 0. ValueError where there is no such file.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"there is no file {path}; a path in a config is relative to the config's folder")
        self.path = path
        self.offsets, self.lines = index_lines(path)

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names in the first objects."""
        return first_columns(self)

    def row(self, index: int) -> Mapping[str, Any]:
        """The object. ValueError for a line that holds none, which says what is wrong with it."""
        with self.path.open("rb") as file:
            file.seek(int(self.offsets[index]))
            raw = file.readline().rstrip()
        return parse_line(raw)

    def where(self, index: int) -> str:
        """The file and the line from 1."""
        return f"{self.path}:{int(self.lines[index])}"


class JsonlSource:
    """The examples of a .jsonl file, one object with the fields of `Example` on each line.

    Image paths are relative to the file. A faulty line raises a DataError when it is asked for, which names the file,
    the line, the example and what to do. ValueError where there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = JsonLines(path)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        id = f"{self.path.name}:{int(self.rows.lines[index])}"
        try:
            record = self.rows.row(index)
            id = example_id(record, id)
            return example_from_json(record, id=id, folder=self.path.parent)
        except ValueError as error:
            raise DataError(f"{self.where(index)}: example {id!r}: {error}") from None

    def where(self, index: int) -> str:
        """The file and the line from 1."""
        return self.rows.where(index)


def first_columns(rows: Any) -> tuple[str, ...]:
    """The names in the first objects of a table; one that is none is named when it is asked for."""
    found: dict[str, None] = {}
    for index in range(min(len(rows), FIRST)):
        try:
            found |= dict.fromkeys(rows.row(index))
        except ValueError:
            continue
    return tuple(found)


def parse_line(raw: bytes) -> dict[str, Any]:
    """The object that a line holds. ValueError that says what is wrong with it, and what to do."""
    try:
        value = json.loads(raw.decode("utf-8-sig"))  # a byte-order mark may lead the first line
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} of the line is not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        hint = "write one whole object on each line"
        raise ValueError(f"the line is not JSON ({error.msg} at column {error.colno}); {hint}") from None
    except RecursionError:
        raise ValueError("the line is nested too deeply; write one flat object on each line") from None
    if not isinstance(value, dict):
        raise ValueError(f"the line is not an object {{...}} but {shown(value)}; write one object on each line")
    return value


def index_lines(path: Path) -> tuple[Int64[np.ndarray, "lines"], Int64[np.ndarray, "lines"]]:
    """Of each line that is not blank, the byte at which it begins and its number from 1."""
    begins: list[Int64[np.ndarray, "part"]] = []
    doubtful: list[Int64[np.ndarray, "part"]] = []  # begin with white space: perhaps blank
    with path.open("rb") as file:
        position, fresh = 0, True  # fresh: the byte before this chunk ended a line
        while chunk := file.read(CHUNK):
            data = np.frombuffer(chunk, dtype=np.uint8)
            after = np.flatnonzero(data[:-1] == ord("\n")) + 1
            starts = np.concatenate([np.zeros(int(fresh), dtype=np.int64), after])
            begins.append(starts + position)
            doubtful.append(starts[np.isin(data[starts], WHITE)] + position)
            position, fresh = position + len(chunk), chunk.endswith(b"\n")
        offsets = np.concatenate([np.zeros(0, dtype=np.int64), *begins])
        blank = [at for part in doubtful for at in part.tolist() if _is_blank(file, at)]
    kept = ~np.isin(offsets, blank)
    return offsets[kept], np.flatnonzero(kept).astype(np.int64) + 1


def _is_blank(file: Any, offset: int) -> bool:
    file.seek(offset)
    return not file.readline().strip()
