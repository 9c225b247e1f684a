"""Boxes in a text, written in another space: the text stays as it is, the numbers change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from groundrl.experiments.tasks.box_text import thousandths
from groundrl.rewards import Boxes, BoxSpace, parse_boxes, rel1000
from groundrl.rewards.boxes.reading import ParsedBoxes

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TAGS = ("<box>", "<|box_start|>", '"bbox_2d"')


def boxes_in(text: str, space: BoxSpace, *, prompt: bool = False) -> Boxes | None:
    """The boxes that a text states, in the space in which it does; None where it states none.

    A `prompt` may hold brackets that are no boxes ("in the form [x1, y1, x2, y2]"). ValueError for boxes that cannot be
    read.
    """
    parsed = parse_boxes(text)
    tagged = any(tag in text for tag in _TAGS)
    if parsed.status == "no_boxes" or (prompt and not tagged and parsed.status in ("bad_form", "bad_number")):
        return None
    if parsed.status != "ok":
        raise ValueError(f"the boxes in {text[-80:]!r} cannot be read ({parsed.status})")
    return Boxes(xyxy=_corners(parsed), space=space, labels=parsed.labels)


def in_thousandths(text: str, boxes: Boxes) -> str:
    """A text that states these boxes, with them in rel1000; the same text where they are already."""
    return text if boxes.space == rel1000 else with_corners(text, thousandths(boxes))


def with_corners(text: str, corners: Int[np.ndarray, "N 4"]) -> str:
    """A text that states N boxes, with these numbers in their place."""
    if not len(corners):
        return text
    parsed = parse_boxes(text)
    numbers = iter(corners.ravel().tolist())
    pieces, end = [], 0
    for start, stop in parsed.spans:
        inside = text[start:stop]
        pieces += [text[end:start], _json(inside, corners) if '"bbox_2d"' in inside else _numbers(inside, numbers)]
        end = stop
    return "".join([*pieces, text[end:]])


def _numbers(text: str, numbers: Iterator[int]) -> str:
    return _NUMBER.sub(lambda found: str(next(numbers)), text)


def _json(text: str, corners: Int[np.ndarray, "N 4"]) -> str:
    value = json.loads(text)
    for item, box in zip(value if isinstance(value, list) else [value], corners.tolist(), strict=True):
        item["bbox_2d"] = box
    return json.dumps(value, ensure_ascii=False)


def _corners(parsed: ParsedBoxes) -> np.ndarray:
    return np.array(parsed.xyxy, dtype=np.float64).reshape(-1, 4)
