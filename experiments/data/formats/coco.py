"""Examples from a COCO instances file: one for each image, with a gold answer written by a template."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from groundrl.experiments.data.formats.box_json import four, inside_image
from groundrl.experiments.data.formats.image_json import image_from_json
from groundrl.experiments.data.formats.values import shown
from groundrl.experiments.tasks.grounding import GROUNDING, WRITTEN
from groundrl.experiments.tasks.task import Fields
from groundrl.rewards import FORMATS, Boxes, Completion, DataError, Example, ImageRef, pixel

DEFAULT_ANSWER = "{count} {label} <box>{boxes}</box>"
TEMPLATE_FIELDS = ("count", "label", "boxes", "objects")
# What is read; the rest (above all the segmentations) is dropped while the file is parsed.
TABLES = ("images", "annotations", "categories")
KEPT = {*TABLES, "id", "image_id", "category_id", "bbox", "iscrowd", "file_name", "width", "height", "name"}


class CocoSource:
    """The images of a COCO instances file as examples, in the file's order; those without annotations are negatives.

    `answer` is the template of the gold answer. Its fields: `{count}`; `{label}`, the names of the categories in the
    image, joined by commas (in an image without any, the file's only category, or "objects"); `{boxes}`,
    `[[010, 012, 080, 095], ...]` in rel1000 and reading order; `{objects}`, the same with each box's label, as the
    JSON list of Qwen. Annotations with `iscrowd` are left out. The reference has the boxes in pixels with their
    labels, the categories in the image, and as `label` what the gold answer says beside its boxes.

    What concerns one image is a DataError when that image is asked for. ValueError for a file that is no COCO file or
    a template that cannot be used; DataError at once for an annotation of an image that is not listed.
    """

    def __init__(self, annotations: Path, *, images: Path, prompt: str, answer: str = DEFAULT_ANSWER) -> None:
        check_template(answer)
        tables = _read(annotations)
        self.path = annotations
        self.folder = images
        self.prompt = prompt
        self.answer = answer
        self.categories = _categories(annotations, tables["categories"])
        self.entries = tables["images"]
        self.annotations = self._by_image(tables["annotations"])

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        entry = self.entries[index]
        id = f"{self.path.stem}/{entry['id']}"
        try:
            return self._example(entry, id)
        except ValueError as error:
            raise DataError(f"{self.path}: example {id!r}: {error}") from None

    def _by_image(self, annotations: list[dict[str, Any]]) -> dict[object, list[dict[str, Any]]]:
        ids = [entry.get("id") for entry in self.entries]
        known = {id for id in ids if type(id) in (int, str)}
        if len(known) < len(ids):
            raise ValueError(f"{self.path}: each of the {len(ids)} images needs an `id` of its own")
        grouped: dict[object, list[dict[str, Any]]] = {}
        for annotation in annotations:
            image = annotation.get("image_id")
            if type(image) not in (int, str) or image not in known:
                name = f"annotation {shown(annotation.get('id'))}"
                raise DataError(f"{self.path}: {name} is of image {shown(image)}, which is not listed; remove it")
            if not annotation.get("iscrowd"):
                grouped.setdefault(image, []).append(annotation)
        return grouped

    def _example(self, entry: dict[str, Any], id: str) -> Example:
        name = entry.get("file_name")
        if not isinstance(name, str):
            raise ValueError(f"the image has no `file_name` but {shown(name)}; add it or remove the image")
        size = {"width": entry.get("width"), "height": entry.get("height")}
        image = image_from_json({"path": name} | size, self.folder)
        boxes = self._boxes(self.annotations.get(entry["id"], []), width=image.width, height=image.height)
        names = list(dict.fromkeys(self.categories.values()))
        return boxes_example(
            id=id,
            image=image,
            boxes=boxes,
            names=names,
            prompt=self.prompt,
            answer=self.answer,
            block=name,
            dataset=self.path.stem,
        )

    def _boxes(self, annotations: list[dict[str, Any]], *, width: int, height: int) -> Boxes:
        """The boxes in reading order, in pixels of the image."""
        names = [f"annotation {shown(annotation.get('id'))}" for annotation in annotations]
        xywh = [four(each.get("bbox"), f"the bbox of {name}") for each, name in zip(annotations, names, strict=True)]
        corners = np.array([(x, y, x + w, y + h) for x, y, w, h in xywh], dtype=np.float64).reshape(-1, 4)
        space = pixel(float(width), float(height))
        corners = inside_image(corners, space, [f"the bbox of {name} as corners" for name in names])
        labels = [self._category(each, name) for each, name in zip(annotations, names, strict=True)]
        order = np.lexsort((corners[:, 0], corners[:, 1]))
        return Boxes(xyxy=corners[order], space=space, labels=tuple(labels[k] for k in order))

    def _category(self, annotation: dict[str, Any], name: str) -> str:
        id = annotation.get("category_id")
        if type(id) not in (int, str) or id not in self.categories:
            raise ValueError(f"{name} has the category {shown(id)}, which is not in `categories`; add it there")
        return self.categories[id]


def boxes_example(
    *,
    id: str,
    image: ImageRef,
    boxes: Boxes,
    names: Sequence[str],
    prompt: str,
    answer: str,
    block: str,
    dataset: str = "boxes",
    columns: Mapping[str, object] | None = None,
) -> Example:
    """The grounding task of one image with labelled boxes; `answer` is a template, `names` are all the classes."""
    present = set(boxes.labels or ())
    labels = tuple(name for name in names if name in present)
    nothing = names[0] if len(names) == 1 else "objects"
    fields = Fields(
        id=id,
        dataset=dataset,
        images=(image,),
        prompt=prompt,
        answer=fill_template(answer, boxes, label=", ".join(labels) or nothing),
        labels=labels,
        boxes=boxes,
        block=block,
        columns=columns or {},
    )
    return GROUNDING.example(fields)


def fill_template(template: str, boxes: Boxes, *, label: str) -> str:
    """The gold answer of these boxes."""
    bare = replace(WRITTEN, put=FORMATS["lists"].put)
    objects = replace(FORMATS["qwen3_vl"], largest=WRITTEN.largest)
    values = {"boxes": bare.gold(boxes), "objects": objects.gold(boxes, boxes.labels or ())}
    return template.format_map({"count": len(boxes), "label": label, **values})


def check_template(template: str) -> None:
    """ValueError where a template has an unknown field, or writes boxes that could not be read back."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ValueError(
            f"the answer template {template!r} is broken: {error}; write a brace as {{{{ or }}}}"
        ) from None
    for field in fields:
        if field not in TEMPLATE_FIELDS:
            valid = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
            raise ValueError(f"the answer template {template!r} has an unknown field {{{field}}}; valid are {valid}")
    one = Boxes(xyxy=np.array([[1.0, 2.0, 3.0, 4.0]]), space=pixel(10.0, 10.0), labels=("a",))
    try:
        gold = Completion(text=fill_template(template, one, label="a"))
    except ValueError as error:
        raise ValueError(f"the answer template {template!r} cannot be filled: {error}") from None
    if gold.answer is None:
        raise ValueError(f"the answer template {template!r} gives no readable answer ({gold.parsed.status})")
    if {"boxes", "objects"} & set(fields) and gold.boxes is None:
        raise ValueError(f"the boxes of the answer template {template!r} cannot be read; write <box>{{boxes}}</box>")


def _categories(path: Path, rows: list[dict[str, Any]]) -> dict[object, str]:
    for row in rows:
        if type(row.get("id")) not in (int, str) or not isinstance(row.get("name"), str):
            raise ValueError(f"{path}: each of `categories` needs an `id` and a `name`, got {shown(row)}")
    return {row["id"]: row["name"] for row in rows}


def _found(path: Path) -> str:
    content = json.loads(path.read_bytes())
    return (
        f"expected: {', '.join(TABLES)}; found: {', '.join(content) if isinstance(content, dict) else shown(content)}"
    )


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}; a path in a config is relative to the config's folder")
    try:
        tables = json.loads(path.read_bytes(), object_hook=lambda found: {k: found[k] for k in found if k in KEPT})
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    for name in TABLES:
        rows = tables.get(name) if isinstance(tables, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path} is no COCO instances file: it has no list {name!r} of objects; {_found(path)}")
    return tables  # type: ignore[no-any-return]  # checked above
