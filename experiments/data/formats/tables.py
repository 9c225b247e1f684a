"""A data file as a table, a row read when it is asked for: JSON lines, JSON, CSV, parquet, a Hugging Face folder.

Nothing is executed and nothing is guessed: every fault is a ValueError that says in which file and line.
"""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from groundrl.experiments.data.formats.jsonl import JsonLines, first_columns
from groundrl.experiments.data.formats.values import shown

KEY = "key"  # the column that holds the key of each record, where a JSON file is one object of records
_SPACE = re.compile(r"[\s,:]*+")


@runtime_checkable
class Table(Protocol):
    """Rows by index."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that are there; in a file of JSON objects, those of the first rows."""
        ...

    def __len__(self) -> int: ...

    def row(self, index: int) -> Mapping[str, Any]:
        """The row's values by column."""
        ...

    def where(self, index: int) -> str:
        """The file and, where there are lines, the line."""
        ...


def open_table(path: Path, *, split: str | None = None) -> Table:
    """The table of a .jsonl, .json, .csv, .tsv or .parquet file, of a folder that `datasets` saved, or of a pattern.

    A .json file may also have one object on each line.

    A pattern (`QA_information/Open-access/*.json`) is all of its files, in order of their names. `split` picks a split
    of a `datasets` folder. ValueError for anything else.
    """
    if any(mark in str(path) for mark in "*?["):
        return Joined([open_table(Path(each), split=split) for each in _matching(path)])
    if path.is_dir():
        from groundrl.experiments.data.formats.arrow_tables import open_folder

        return open_folder(path, split=split)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; a path in a config is relative to the config's folder")
    if split is not None:
        raise ValueError(f"`split` picks a split of a `datasets` folder, but {path} is a file; leave it out")
    if path.suffix == ".parquet":
        from groundrl.experiments.data.formats.arrow_tables import open_parquet

        return open_parquet(path)
    kinds: dict[str, Callable[[Path], Table]] = {
        ".jsonl": JsonLines,
        ".json": JsonRecords,
        ".csv": CsvRows,
        ".tsv": CsvRows,
    }
    if path.suffix not in kinds:
        raise ValueError(f"{path} is none of {', '.join(kinds)}, .parquet or a folder that `datasets` has saved")
    return JsonLines(path) if path.suffix == ".json" and _holds_lines(path) else kinds[path.suffix](path)


def _holds_lines(path: Path) -> bool:
    """Whether a .json file has an object on each line, as MedMCQA's: its first is one, and another follows."""
    with path.open("rb") as file:
        first, second = file.readline(), file.readline()
    if any(line.lstrip()[:1] != b"{" for line in (first, second)):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _matching(pattern: Path) -> list[str]:
    found = sorted(glob.glob(str(pattern), recursive=True))
    if not found:
        raise ValueError(f"no file matches {pattern}; a path in a config is relative to the config's folder")
    return found


class JsonRecords:
    """A JSON file that is one list of objects, or one object of objects (their keys become the column `key`).

    The text is kept, each record is parsed when it is asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_bytes().decode("utf-8-sig")
            self.starts, self.lines, self.keys = _records(self.text)
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not a JSON list of objects, nor an object of objects: {error}") from None
        self.columns = first_columns(self)

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, index: int) -> Mapping[str, Any]:
        """The record."""
        value = json.JSONDecoder().raw_decode(self.text, int(self.starts[index]))[0]
        if not isinstance(value, dict):
            raise ValueError(f"the record is not an object {{...}} but {shown(value)}")
        return value if self.keys is None else {KEY: self.keys[index], **value}

    def where(self, index: int) -> str:
        """The file and the line in which the record begins."""
        return f"{self.path}:{int(self.lines[index])}"


def _records(text: str) -> tuple[Int64[np.ndarray, "records"], Int64[np.ndarray, "records"], list[str] | None]:
    """Of each record its place in the text and its line from 1; and the keys, where the file is an object."""
    decoder, place = json.JSONDecoder(), _after_space(text, 0)
    opening = text[place : place + 1]
    if opening not in ("[", "{"):
        raise ValueError(f"it begins with {shown(text[place : place + 20])}")
    closing = "]" if opening == "[" else "}"
    keys: list[str] | None = None if opening == "[" else []
    starts: list[int] = []
    place = _after_space(text, place + 1)
    while text[place : place + 1] != closing:
        if keys is not None:
            key, place = decoder.raw_decode(text, place)
            if not isinstance(key, str):
                raise ValueError(f"{shown(key)} stands where a key should")
            keys.append(key)
            place = _after_space(text, place)
        starts.append(place)
        place = _after_space(text, decoder.raw_decode(text, place)[1])
    if text[place + 1 :].strip():
        raise ValueError(f"after its end stands {shown(text[place + 1 : place + 20])}")
    newlines = np.array([found.start() for found in re.finditer("\n", text)], dtype=np.int64)
    begins = np.array(starts, dtype=np.int64)
    return begins, np.searchsorted(newlines, begins) + 1, keys


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


class CsvRows:
    """A CSV (or .tsv) file with a header; where each row begins is read at the start, a row when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.delimiter = "\t" if path.suffix == ".tsv" else ","
        with path.open("rb") as file:
            lines = _Lines(file)
            rows = csv.reader(lines, delimiter=self.delimiter)
            try:
                self.columns = tuple(next(rows, []))
                starts: list[tuple[int, int]] = []
                while lines.more():
                    start = lines.position, lines.number + 1
                    if any(next(rows, [])):
                        starts.append(start)
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{path}:{lines.number} is not CSV in UTF-8: {error}") from None
        self.starts = np.array(starts, dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, index: int) -> Mapping[str, Any]:
        """The row; an empty field is None."""
        with self.path.open("rb") as file:
            file.seek(int(self.starts[index, 0]))
            values = next(csv.reader(_Lines(file), delimiter=self.delimiter))
        if len(values) != len(self.columns):
            raise ValueError(f"the row has {len(values)} fields, but the header {len(self.columns)}; quote its commas")
        return {name: value if value != "" else None for name, value in zip(self.columns, values, strict=True)}

    def where(self, index: int) -> str:
        """The file and the line in which the row begins."""
        return f"{self.path}:{int(self.starts[index, 1])}"


class _Lines:
    """The lines of a file as text, with how many bytes and lines have been taken."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.number = 0
        self.position = file.tell()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self.file.readline()
        if not raw:
            raise StopIteration
        self.number += 1
        self.position += len(raw)
        text: str = raw.decode("utf-8-sig" if self.position == len(raw) else "utf-8")
        return text

    def more(self) -> bool:
        """Whether there is another line."""
        return bool(self.file.peek(1))


class Joined:
    """Several tables, one after the other."""

    def __init__(self, tables: list[Table]) -> None:
        self.tables = tables
        self.ends = np.cumsum([len(table) for table in tables])
        self.columns = tuple(dict.fromkeys(name for table in tables for name in table.columns))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _place(self, index: int) -> tuple[Table, int]:
        table = int(np.searchsorted(self.ends, index, side="right"))
        return self.tables[table], index - (int(self.ends[table - 1]) if table else 0)

    def row(self, index: int) -> Mapping[str, Any]:
        """The row of its table."""
        table, place = self._place(index)
        return table.row(place)

    def where(self, index: int) -> str:
        """The place in its table."""
        table, place = self._place(index)
        return table.where(place)
