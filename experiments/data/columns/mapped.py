"""Examples out of a published file by its column map: questions, reports, labels, boxes, each by its task."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from groundrl.experiments.data.columns.column_map import ColumnMap, ReportColumns, cell, top
from groundrl.experiments.data.columns.values import choices_of, correct_of, images_of, text_of, texts_of
from groundrl.experiments.data.formats.box_json import boxes_from_json
from groundrl.experiments.data.formats.tables import Table
from groundrl.experiments.data.formats.values import array, refuse_unknown, shown
from groundrl.experiments.tasks import TASKS, Fields, Task
from groundrl.experiments.tasks.report_generation import report_text
from groundrl.rewards import Boxes, DataError, Example, ImageRef

_MARK = re.compile(r"<image (\d{1,2})>")  # MMMU's, in a question or a choice
OWN = ("dataset", "task")  # columns that every example has; a file's own are kept as source_dataset, source_task


def _first_row(table: Table) -> Mapping[str, Any]:
    """The first row that can be read; a faulty one is named when it is asked for."""
    for index in range(len(table)):
        try:
            return table.row(index)
        except ValueError:
            continue
    return {}


class MappedSource:
    """The examples of a table under a column map.

    `images`: the folder to which paths are relative. `template`: of the tasks' prompts, a name or a text of its own.
    `where`: column -> value, or values, of the rows to take. `left_out` counts the rows that are too empty for the
    map. ValueError, with the columns found and those expected, for another file; a faulty row is a DataError with file
    and line when it is asked for.
    """

    def __init__(
        self,
        table: Table,
        columns: ColumnMap,
        *,
        images: Path,
        template: str | None = None,
        where: Mapping[str, object] | None = None,
    ) -> None:
        self.table = table
        self.map = columns
        self.images = images
        self.tasks = [TASKS[name] for name in columns.tasks]
        self.templates = _templates(self.tasks, template)
        if len(table):
            columns.check(table.columns, _first_row(table), table.where(0).rpartition(":")[0])
            refuse_unknown(where or (), table.columns, "column in `where`:")
        self.rows, self.left_out = self._chosen(where or {})

    def _chosen(self, where: Mapping[str, object]) -> tuple[np.ndarray, int]:
        """The rows to take, and how many were left out as empty; a row that cannot be read is taken, to be named."""
        if not (where or self.map.any_of or self.map.all_of):
            return np.arange(len(self.table)), 0
        wanted = {name: {str(each).strip() for each in _several(value)} for name, value in where.items()}
        taken, empty = [], 0
        for index in range(len(self.table)):
            try:
                row = self.table.row(index)
            except ValueError:
                taken.append(index)
                continue
            if any(str(row.get(name)).strip() not in values for name, values in wanted.items()):
                continue
            if self.map.leaves_out(row):
                empty += 1
                continue
            taken.append(index)
        return np.array(taken, dtype=np.int64), empty

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = int(self.rows[index])
        id = f"{self.map.dataset}/{place}"
        try:
            row = self.table.row(place)
            stated = text_of(cell(row, self.map.id), self.map.id or "")
            id = f"{self.map.dataset}/{stated}" if stated is not None else id
            fields = self._fields(row, id)
            task = self._task(fields)
            return task.example(fields, template=self.templates[task.name])
        except ValueError as error:
            raise DataError(f"{self.where(index)}: example {id!r}: {error}") from None

    def where(self, index: int) -> str:
        """The file and the line or row from 1."""
        return self.table.where(int(self.rows[index]))

    def _task(self, fields: Fields) -> Task:
        reasons = [(task, task.unfit(fields)) for task in self.tasks]
        found = next((task for task, reason in reasons if reason is None), None)
        if found is None:
            raise ValueError("; ".join(f"it is no {task.name}: {reason}" for task, reason in reasons))
        return found

    def _fields(self, row: Mapping[str, Any], id: str) -> Fields:
        columns = self.map
        question, choices = self._question(row), choices_of(row, columns)
        correct = correct_of(row, columns.answer, choices) if choices else None
        answers = self._answers(row)
        pictures = [images_of(cell(row, name), name, self.images) for name in columns.images]
        question, choices, images = place_images(question, choices, pictures)
        labels = texts_of(cell(row, columns.labels), columns.labels or "", columns.separator)
        return Fields(
            id=id,
            dataset=columns.dataset,
            images=images,
            question=question,
            answer=answers[0] if answers and not choices else None,
            references=answers if len(answers) > 1 else (),
            choices=choices or None,
            correct=correct,
            labels=labels,
            boxes=self._boxes(row, images),
            target=columns.target,
            modality=columns.modality,
            report=self._report(row),
            pair=text_of(cell(row, columns.pair), columns.pair or ""),
            block=self._block(row, images),
            columns=kept_columns(row, {top(name) for name in self.map.columns()} - {top(self.map.block or "")}),
        )

    def _question(self, row: Mapping[str, Any]) -> str | None:
        question = text_of(cell(row, self.map.question), self.map.question or "")
        if question is not None and self.map.question_ends is not None:
            question = question.partition(self.map.question_ends)[0].strip()
        context = text_of(cell(row, self.map.context), self.map.context or "")
        return "\n\n".join(text for text in (context, question) if text) or None

    def _answers(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The texts of the answer: the first is the gold answer."""
        named = self.map.answer.text or self.map.answer.letter or self.map.answer.index
        value = cell(row, named)
        return tuple(filter(None, (text_of(each, named or "") for each in _several(value))))

    def _report(self, row: Mapping[str, Any]) -> str | None:
        report = self.map.report
        if not isinstance(report, ReportColumns):
            return text_of(cell(row, report), report or "")
        findings, impression = (text_of(cell(row, name), name) for name in (report.findings, report.impression))
        return report_text(findings, impression) or None

    def _boxes(self, row: Mapping[str, Any], images: Sequence[ImageRef]) -> Boxes | None:
        columns = self.map.boxes
        value = cell(row, columns.column) if columns is not None else None
        if columns is None or value is None:
            return None
        rows = array(value, columns.column)
        if rows and not isinstance(rows[0], list):
            rows = [rows]  # one box
        if columns.form == "xywh":
            rows = [[x, y, x + w, y + h] for x, y, w, h in (_four(each, columns.column) for each in rows)]
        labels = texts_of(cell(row, columns.labels), columns.labels or "", self.map.separator)
        written = {"xyxy": rows, "space": columns.space, "labels": list(labels) if labels is not None else None}
        return boxes_from_json(written, images)

    def _block(self, row: Mapping[str, Any], images: Sequence[ImageRef]) -> str | None:
        """The stated unit, else the first image: questions about one image are not independent."""
        stated = text_of(cell(row, self.map.block), self.map.block or "")
        if stated is not None or not images:
            return stated
        source = images[0].source
        if isinstance(source, bytes):
            return hashlib.blake2b(source, digest_size=8).hexdigest()
        return os.path.relpath(source, self.images)  # not the name alone: SLAKE's are all source.jpg


def place_images(
    question: str | None, choices: Sequence[str], pictures: Sequence[tuple[ImageRef, ...]]
) -> tuple[str | None, tuple[str, ...], tuple[ImageRef, ...]]:
    """Question and choices with `<image 2>` made the mark `<image>`, and the images in the order of the marks.

    Without such marks all images, in order. `pictures` are those of column 1, 2, ...
    """
    texts = [question or "", *choices]
    numbers = [int(number) for text in texts for number in _MARK.findall(text)]
    if not numbers:
        return question, tuple(choices), tuple(image for each in pictures for image in each)
    for number in numbers:
        if not 1 <= number <= len(pictures) or not pictures[number - 1]:
            raise ValueError(f"the question names <image {number}>, but there is no such image")
    question, *choices = [_MARK.sub("<image>", text) for text in texts]
    return question, tuple(choices), tuple(image for number in numbers for image in pictures[number - 1])


def kept_columns(row: Mapping[str, Any], used: Set[str]) -> dict[str, object]:
    """The columns of a row that stand for nothing else; no pictures."""
    kept = {name: value for name, value in row.items() if name not in used and _is_plain(value)}
    return {f"source_{name}" if name in OWN else name: value for name, value in kept.items()}


def _templates(tasks: Sequence[Task], template: str | None) -> dict[str, str | None]:
    """The template of each task. One task may lack a name that another has. ValueError where none has it."""
    having = [task for task in tasks if template in task.templates] or tasks
    for task in having:
        task.template(template)
    return {task.name: template if task in having else None for task in tasks}


def _several(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else (value,)


def _four(value: object, name: str) -> list[float]:
    if not isinstance(value, list) or len(value) != 4 or not all(type(each) in (int, float) for each in value):
        raise ValueError(f"a box in `{name}` is four numbers, got {shown(value)}")
    return value


def _is_plain(value: object) -> bool:
    """Whether it could be written as JSON."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool | None)
