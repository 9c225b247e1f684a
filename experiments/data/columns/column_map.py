"""A column map: which column of a published file is the question, which the answer, ... Shipped ones are YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from groundrl.experiments.tasks import TASKS
from groundrl.rewards.expression import nearest
from groundrl.rollout.settings import Settings

MAPS = Path(__file__).parent / "maps"
OPTIONAL = "?"  # at the end of a column's name: the file may lack it


class AnswerColumns(Settings):
    """The right choice: its `letter`, its place from 0 (`index`), or its `text`; the text alone where none is given.

    Where several are named they must agree.
    """

    letter: str | None = None
    index: str | None = None
    text: str | None = None


class ReportColumns(Settings):
    """The sections of a report; an empty one is left out."""

    findings: str
    impression: str


class BoxColumns(Settings):
    """The column of a list of boxes, how and in which space they are written, and the column of their labels."""

    column: str
    form: Literal["xyxy", "xywh"]
    space: Literal["pixel", "rel1000", "rel1"]
    labels: str | None = None


class ColumnMap(Settings):
    """How one data set is read.

    A column is named as in the file; `a.b` is the field b of the object in column a, and a name that ends in `?` may
    be absent. `tasks`: an example is of the first that fits it. `choices`: one column (a list, an object by letter, or
    a list written as text), or one column for each choice; `fixed_choices` where they are always the same.
    `question_ends`: the question is cut at this text. `images`: columns of paths or pictures; paths are relative to
    `image_folder` in the folder of the file. `any_of`: a row in which all of these are empty is left out, and counted;
    `all_of`: one in which one of these is. `block`: the column of the independent unit (patient, document, group of
    paraphrases); by default the first image.
    """

    dataset: str
    tasks: tuple[str, ...] = Field(min_length=1)
    id: str | None = None
    question: str | None = None
    question_ends: str | None = None
    context: str | None = None
    choices: str | tuple[str, ...] | None = None
    fixed_choices: tuple[str, ...] | None = None
    answer: AnswerColumns = AnswerColumns()
    labels: str | None = None
    separator: str = "|"
    images: tuple[str, ...] = ()
    image_folder: str = ""
    report: str | ReportColumns | None = None
    boxes: BoxColumns | None = None
    target: str = "abnormalities"
    modality: str = "image"
    pair: str | None = None
    block: str | None = None
    any_of: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()

    def leaves_out(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is too empty to be an example."""
        absent = {name for name in (*self.any_of, *self.all_of) if cell(row, name) is None}
        return (bool(self.any_of) and absent >= set(self.any_of)) or bool(absent & set(self.all_of))

    @model_validator(mode="after")
    def _known(self) -> ColumnMap:
        for task in self.tasks:
            if task not in TASKS:
                raise ValueError(f"there is no task {task!r}{nearest(task, list(TASKS))}")
        return self

    def columns(self) -> Iterator[str]:
        """Every column that is named, as it is named."""
        several = self.choices if isinstance(self.choices, tuple) else (self.choices,)
        report = (self.report,) if not isinstance(self.report, ReportColumns) else tuple(dict(self.report).values())
        boxes = (self.boxes.column, self.boxes.labels) if self.boxes is not None else ()
        one = (self.id, self.question, self.context, self.labels, self.pair, self.block)
        named = (*one, *several, *report, *boxes, *dict(self.answer).values(), *self.images)
        yield from (name for name in named if name is not None)

    def check(self, found: Sequence[str], first: Mapping[str, Any], where: object) -> None:
        """ValueError, with the columns found and those expected, where one is missing, or a field in the first row."""
        expected = dict.fromkeys(name for name in self.columns() if not name.endswith(OPTIONAL))
        missing = [name for name in expected if not _is_there(name, found, first)]
        if missing:
            fields = [
                f"{name}.{field}" for name, value in first.items() if isinstance(value, Mapping) for field in value
            ]
            raise ValueError(
                f"{where} is not what the map {self.dataset} reads: it has no {', '.join(missing)}; "
                f"expected: {', '.join(expected)}; found: {', '.join([*found, *fields]) or 'no column'}"
            )


def _is_there(name: str, found: Sequence[str], first: Mapping[str, Any]) -> bool:
    """Whether a file has a column, and its first row the field of the object in it, if a field is named."""
    column, _, field = name.partition(".")
    if name in found or not field or column not in found:
        return name in found
    value = first.get(column)
    return value is None or (isinstance(value, Mapping) and field.partition(".")[0] in value)


def top(name: str) -> str:
    """The column of the file in which a name is found."""
    return name.removesuffix(OPTIONAL).partition(".")[0]


def cell(row: Mapping[str, Any], name: str | None) -> Any:
    """The value under a column's name; None where it is absent, empty, or not a number."""
    if name is None:
        return None
    value: Any = row
    name = name.removesuffix(OPTIONAL)
    for part in [name] if name in row else name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    empty = value != value or (isinstance(value, str) and not value.strip())  # nan is not itself
    return None if empty else value


def load_map(spec: object, base: Path) -> ColumnMap:
    """The map of a shipped name (`medqa`), of a YAML file, or of a mapping. ValueError with the nearest name."""
    if isinstance(spec, Mapping):
        return _checked(spec, "the map in `read`")
    name = str(spec)
    if name.endswith((".yaml", ".yml")):
        path = base / Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"there is no column map {path}; a path in a config is relative to the config's folder")
    else:
        path = MAPS / f"{name}.yaml"
        if name not in shipped_maps():
            raise ValueError(f"there is no reader {name!r}{nearest(name, [*shipped_maps(), 'conversations'])}")
    try:
        return _checked(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from None


def shipped_maps() -> list[str]:
    """The names of the maps that ship."""
    return sorted(path.stem for path in MAPS.glob("*.yaml"))


def _checked(content: object, where: str) -> ColumnMap:
    try:
        return ColumnMap.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        hint = (
            nearest(str(fault["loc"][-1]), list(ColumnMap.model_fields)) if fault["type"] == "extra_forbidden" else ""
        )
        message = fault["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where} is not a column map: {f'{key}: ' if key else ''}{message}{hint}") from None
