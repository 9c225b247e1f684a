"""From one JSON object to an `Example`: every field is checked, and nothing is guessed.

A fault is a ValueError that says what is wrong and what to do; the source that read the object adds where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from groundrl.experiments.data.formats.box_json import boxes_from_json, declared_space
from groundrl.experiments.data.formats.image_json import image_from_json
from groundrl.experiments.data.formats.values import array, refuse_unknown, shown, text, texts
from groundrl.rewards import Example, Reference

FIELDS = ("id", "prompt", "messages", "images", "answer", "reference", "box_space", "block")
ROLES = ("system", "developer", "user", "assistant", "tool")


def example_from_json(record: Mapping[str, Any], *, id: str, folder: Path) -> Example:
    """The example of an object with the fields of `Example`; image paths are relative to `folder`.

    `id` is taken where the object states none. Null is the same as absent; a reference that is a text is its label.
    """
    record = {name: value for name, value in record.items() if value is not None}
    refuse_unknown(record, FIELDS, "field")
    if ("prompt" in record) == ("messages" in record):
        raise ValueError("give exactly one of `prompt` (a text) and `messages` (chat turns)")
    images = tuple(image_from_json(image, folder) for image in array(record.get("images", []), "images"))
    return Example(
        id=example_id(record, id),
        prompt=text(record, "prompt"),
        messages=_messages(record["messages"]) if "messages" in record else None,
        images=images,
        answer=text(record, "answer"),
        reference=_reference(record.get("reference", {}), images),
        box_space=declared_space(record.get("box_space", "rel1000"), images),
        block=text(record, "block"),
    )


def example_id(record: Mapping[str, Any], default: str) -> str:
    """The object's `id` (a number becomes text), or the default where it has none."""
    value = record.get("id")
    if value is None:
        return default
    return str(value) if type(value) is int else text(record, "id") or default


def _reference(value: object, images: tuple[Any, ...]) -> Reference:
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return Reference(label=str(value))
    if not isinstance(value, dict):
        raise ValueError(f'`reference` is a label or an object such as {{"label": "yes"}}, got {shown(value)}')
    known = ("label", "labels", "boxes", "report", "choices")
    boxes = value.get("boxes")
    return Reference(
        label=text(value, "label", "reference.label"),
        labels=texts(value, "labels", "reference.labels"),
        boxes=None if boxes is None else boxes_from_json(boxes, images),
        report=text(value, "report", "reference.report"),
        choices=texts(value, "choices", "reference.choices"),
        columns={name: column for name, column in value.items() if name not in known},
    )


def _messages(value: object) -> tuple[Mapping[str, object], ...]:
    turns = array(value, "messages")
    if not turns:
        raise ValueError("`messages` is empty; it needs at least one turn")
    for number, turn in enumerate(turns):
        _check_turn(turn, f"messages[{number}]")
    if turns[-1]["role"] == "assistant":
        raise ValueError("the last of `messages` is the assistant's; the gold answer goes into `answer`")
    return tuple(turns)


def _check_turn(turn: object, where: str) -> None:
    if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
        raise ValueError(f'`{where}` is an object {{"role": ..., "content": ...}}, got {shown(turn)}')
    if not isinstance(turn["role"], str):
        raise ValueError(f"`{where}.role` is text, got {shown(turn['role'])}")
    refuse_unknown([turn["role"]], ROLES, f"role in `{where}`:")
    if not isinstance(turn["content"], str):
        _check_parts(array(turn["content"], f"{where}.content"), f"{where}.content")


def _check_parts(parts: Iterable[object], where: str) -> None:
    for part in parts:
        is_text = isinstance(part, dict) and set(part) == {"type", "text"} and part["type"] == "text"
        if part != {"type": "image"} and not (is_text and isinstance(part["text"], str)):  # type: ignore[index]
            legal = '{"type": "text", "text": "..."} or {"type": "image"} (the images themselves are in `images`)'
            raise ValueError(f"a part of `{where}` is {legal}, got {shown(part)}")
