"""The boxes that a text of the data states."""

from __future__ import annotations

import re

import numpy as np

from groundrl.rewards import FORMATS, Boxes, BoxSpace, parse_boxes, rel1000
from groundrl.rewards.boxes.drafts import rewritten


def boxes_in(text: str, space: BoxSpace, *, prompt: bool = False) -> Boxes | None:
    """The boxes that a text states, in the space in which it does; None where it states none.

    A `prompt` may hold brackets that are no boxes ("in the form [x1, y1, x2, y2]"). ValueError for boxes that cannot be
    read.
    """
    parsed = parse_boxes(text, format=space.format)
    if parsed.status == "no_boxes" or (prompt and not has_marks(text) and parsed.status in ("bad_form", "bad_number")):
        return None
    if parsed.status != "ok":
        raise ValueError(f"the boxes in {text[-80:]!r} cannot be read ({parsed.reason})")
    xyxy = np.array(parsed.xyxy, dtype=np.float64).reshape(-1, 4)
    return Boxes(xyxy=xyxy, space=space, labels=parsed.labels)


def has_marks(text: str) -> bool:
    """Whether a text has what shows boxes; bare brackets may be anything."""
    return any(re.search(mark, text) for known in FORMATS.values() for mark in known.patterns)


def in_thousandths(text: str, boxes: Boxes) -> str:
    """A text that states these boxes, with them in rel1000; the same text where they are already."""
    return text if boxes.space == rel1000 else rewritten(text, FORMATS["medmo"].rounded(boxes))
