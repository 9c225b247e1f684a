"""Conversations with images, as VLM-R1, Qwen and sharegpt (MedSG-188K) write them: JSON lines, or one JSON list.

`{"image": "a.png", "conversations": [{"from": "human", "value": "<image>..."}, {"from": "gpt", "value": "..."}]}`, or
`{"images": [...], "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from groundrl.experiments.data.columns.mapped import kept_columns
from groundrl.experiments.data.columns.values import images_of
from groundrl.experiments.data.formats.box_json import space_from_json
from groundrl.experiments.data.formats.stated_boxes import boxes_in, in_thousandths
from groundrl.experiments.data.formats.tables import Table
from groundrl.experiments.data.formats.values import array, shown
from groundrl.experiments.tasks import TASKS, Fields, Task
from groundrl.rewards import Boxes, BoxSpace, DataError, Example, ImageRef, rel1000
from groundrl.rewards.core.glossary import IMAGE_MARK

ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}
TURNS = {"conversations": ("from", "value"), "messages": ("role", "content")}  # key of the turns -> of a turn
IMAGES = ("image", "images")


class ConversationSource:
    """The conversations of a table as examples: the last turn is the gold answer, those before it are the prompt.

    `space`: the one in which the data write boxes, `pixel` (of the image as stored), `rel1000` or `rel1`; a
    conversation with boxes is a DataError without it. Boxes are made rel1000 in every turn, the space in which the
    model writes; the reference keeps those of the data. ValueError for a file without turns, with the columns found.
    """

    def __init__(self, table: Table, *, name: str, images: Path, space: str | None = None) -> None:
        if len(table) and not set(TURNS) & set(table.columns):
            found = ", ".join(table.columns) or "no column"
            expected = " or ".join(TURNS)
            raise ValueError(
                f"{table.where(0).rpartition(':')[0]} holds no conversations; expected: {expected}; found: {found}"
            )
        self.table = table
        self.name = name
        self.images = images
        self.space = space

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        id = f"{self.name}/{index}"
        try:
            row = self.table.row(index)
            id = f"{self.name}/{row['id']}" if isinstance(row.get("id"), str | int) else id
            return self._example(row, id)
        except ValueError as error:
            raise DataError(f"{self.where(index)}: example {id!r}: {error}") from None

    def where(self, index: int) -> str:
        """The file and the line or row from 1."""
        return self.table.where(index)

    def _example(self, row: Mapping[str, Any], id: str) -> Example:
        turns = turns_of(row)
        images = tuple(image for name in IMAGES for image in images_of(row.get(name), name, self.images))
        marks = sum(turn["content"].count(IMAGE_MARK) for turn in turns)
        if marks not in (0, len(images)):
            raise ValueError(f"it has {len(images)} image(s) but {marks} {IMAGE_MARK} marks; write one for each")
        *before, last = [self._rewritten(turn, images) for turn in turns]
        boxes = self._boxes(turns[-1], images)
        fields = Fields(
            id=id,
            dataset=self.name,
            images=images,
            prompt=before[-1]["content"],
            question=before[-1]["content"],
            answer=last["content"],
            boxes=boxes,
            block=first_path(images, self.images),
            columns=kept_columns(row, {"id", *IMAGES, *TURNS}),
        )
        example = _task(fields).example(fields)
        return example if len(before) == 1 else replace(example, prompt=None, messages=tuple(before))

    def _boxes(self, turn: Mapping[str, str], images: Sequence[ImageRef]) -> Boxes | None:
        """The boxes of a turn in the data's space. ValueError where that is not declared."""
        found = boxes_in(turn["content"], rel1000, prompt=turn["role"] != "assistant")
        return None if found is None else replace(found, space=self._declared(images))

    def _declared(self, images: Sequence[ImageRef]) -> BoxSpace:
        if self.space is None:
            raise ValueError("it has boxes in no declared space; add `space: pixel`, `rel1000` or `rel1` to `data`")
        if self.space == "pixel" and len({(image.width, image.height) for image in images}) > 1:
            raise ValueError("its boxes are in pixels of images of different sizes; write them in rel1000")
        return space_from_json({"space": self.space}, images, "space")

    def _rewritten(self, turn: Mapping[str, str], images: Sequence[ImageRef]) -> dict[str, str]:
        boxes = self._boxes(turn, images)
        return dict(turn) if boxes is None else {**turn, "content": in_thousandths(turn["content"], boxes)}


def turns_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The turns as `{role, content}`. Without roles, user and assistant take turns; the last is the assistant's."""
    key = next((name for name in TURNS if row.get(name)), None)
    if key is None:
        raise ValueError(f"it has no {' and no '.join(TURNS)}")
    who, what = TURNS[key]
    turns = []
    for index, turn in enumerate(array(row[key], key)):
        told = turn if isinstance(turn, Mapping) else {}
        role, content = told.get(who, ("human", "gpt")[index % 2]), told.get(what)
        if not isinstance(role, str) or role not in ROLES or not isinstance(content, str):
            wanted = f"{{{who}: {' | '.join(ROLES)}, {what}: text}}"
            raise ValueError(f"turn {index} of `{key}` is {wanted}, got {shown(turn)}")
        turns.append({"role": ROLES[role], "content": content})
    if len(turns) < 2 or turns[-1]["role"] != "assistant" or turns[-2]["role"] != "user":
        raise ValueError(f"`{key}` ends in no question and answer: {shown([turn['role'] for turn in turns])}")
    return turns


def first_path(images: Sequence[ImageRef], folder: Path) -> str | None:
    """The first image's path in its folder: conversations about one image are not independent."""
    sources = [image.source for image in images if isinstance(image.source, Path)]
    return os.path.relpath(sources[0], folder) if sources else None


def _task(fields: Fields) -> Task:
    if fields.boxes is not None and fields.images:
        return TASKS["grounding"]
    closed, opened, text = TASKS["closed_vqa"], TASKS["open_vqa"], TASKS["text_qa"]
    if closed.unfit(fields) is None:
        return closed
    return opened if fields.images else text
