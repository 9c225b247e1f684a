"""Answers taken apart, and written again with other boxes: the same frame, the same form of boxes and of numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.formats import BOX, FORMATS, BoxFormat, box_format
from groundrl.rewards.boxes.parsing import parse_answer, parse_boxes, words_around
from groundrl.rewards.boxes.reading import ParsedBoxes
from groundrl.rewards.boxes.spaces import BoxSpace
from groundrl.rewards.boxes.writing import Labels, Rows, listed, objects, single

_QUADS = re.compile(r"[\[(]([-+.eE0-9,\s]++)[\])]")
_NUMBER = re.compile(r"[0-9]++(?:\.[0-9]++)?+")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A gold answer taken apart: `head` (thinking, opening tags), the words around the boxes, `tail` (closing tags).

    `boxes` are those that it states, as written; None where it states none that can be read. `style` is the format
    with the answer's own padding, decimals and commas; None in a task without boxes.
    """

    head: str
    lead: str
    trail: str
    tail: str
    style: BoxFormat | None
    boxes: Float[np.ndarray, "N 4"] | None
    labels: tuple[str, ...] | None
    words: str

    def with_boxes(self, xyxy: Float[np.ndarray, "N 4"], labels: Sequence[str] | None = None) -> str:
        """The answer with these boxes instead of its own."""
        assert self.style is not None, "a task without boxes"
        return f"{self.head}{self.lead}{self.style.write(xyxy, labels)}{self.trail}{self.tail}"

    def saying(self, words: str) -> Draft:
        """The same answer with other words around the boxes."""
        gap = self.lead[len(self.lead.rstrip()) :] if self.boxes is not None else ""
        return replace(self, lead=words + gap, trail="", words=words)

    @property
    def text(self) -> str:
        """The answer, with its boxes where it has any."""
        if self.style is None or self.boxes is None:
            return f"{self.head}{self.lead}{self.trail}{self.tail}"
        return self.with_boxes(self.boxes, self.labels)


def take_apart(gold: str, *, boxes: bool, default: BoxFormat | None, format: str = "medmo") -> Draft:
    """The draft of a gold answer; with `boxes`, of a task that asks for them.

    `format` is the declared one. The style is its own where it states boxes, else `default`.
    """
    parsed = parse_answer(gold)
    start, end = parsed.span if parsed.status == "ok" else (0, len(gold))
    answer, head, tail = gold[start:end], gold[:start], gold[end:]
    found = parse_boxes(answer, format=format) if boxes else ParsedBoxes(status="no_boxes")
    if found.status != "ok" or not found.spans:
        style = (default or box_format(format)) if boxes else None
        words = answer.strip()
        return Draft(head=head, lead=answer, trail="", tail=tail, style=style, boxes=None, labels=None, words=words)
    spans = found.spans
    first, last = spans[0][0], len(answer[: spans[-1][1]].rstrip())  # a bare list is parsed with the space behind it
    between = "".join(answer[a:b] for (_, a), (b, _) in pairwise(spans))
    if found.labels:  # what stands between boxes with labels of their own is their separator
        between = ""
    shown, stop = answer[slice(*spans[0])].rstrip(), len(parse_boxes(answer[slice(*spans[0])], format=format).xyxy)
    own = as_written(shown, box_format(format), found.labels and found.labels[:stop])
    return Draft(
        head=head,
        lead=answer[:first],
        trail=between + answer[last:],
        tail=tail,
        style=own if found.xyxy or default is None else default,
        boxes=np.array(found.xyxy, dtype=np.float64).reshape(-1, 4),
        labels=found.labels,
        words=words_around(answer, found),
    )


def rewritten(
    text: str, xyxy: Float[np.ndarray, "N 4"], *, format: str = "medmo", into: BoxFormat | None = None
) -> str:
    """A text that states N boxes in a format, with these in their place; all else stays as it is.

    They are written `into` a format, else as before in whole numbers.
    """
    pieces, end, index = [], 0, 0
    for start, stop in parse_boxes(text, format=format).spans if len(xyxy) else ():
        inside = text[start:stop].rstrip()
        own = parse_boxes(inside, format=format)
        count = len(own.xyxy)
        found = into or as_written(inside, box_format(format), own.labels)
        style = found if into is not None or found.own else replace(found, digits=1, decimals=0)
        pieces += [text[end:start], style.write(xyxy[index : index + count], own.labels)]
        end, index = start + len(inside), index + count
    return "".join([*pieces, text[end:]])


def default_style(space: BoxSpace) -> BoxFormat:
    """How boxes are written where no gold answer states one: the declared form, in whole numbers but for rel1."""
    return replace(box_format(space.format), digits=1, decimals=3 if space.kind == "rel1" else 0)


def as_written(text: str, declared: BoxFormat, labels: Labels = None) -> BoxFormat:
    """The format of boxes as this text writes them, with its own padding, decimals, commas and further keys.

    It is the first that makes the same text of the same numbers, the declared one before all others.
    """
    known, rows = _of_objects(text, declared) if text.lstrip("[ \t\r\n").startswith("{") else (declared, _rows(text))
    variants = [known] if known.own else [known, *_VARIANTS]
    pairs = [(variant, variant.put(rows, labels if variant.labelled else None)) for variant in variants]
    same = [variant for variant, written in pairs if written == text]
    alike = [variant for variant, written in pairs if "".join(written.split()) == "".join(text.split())]
    marked = [variant for variant in variants if any(mark in text for mark in variant.marks)]
    found = next(iter((*same, *alike, *marked)), known)
    numbers = [number for row in rows for number in row]
    if not numbers:
        return found
    padded = [number for number in numbers if len(number) > 1 and number.startswith("0") and "." not in number]
    decimals = max(len(number.partition(".")[2]) for number in numbers)
    return replace(found, digits=max(map(len, padded), default=1), decimals=decimals)


def _rows(text: str) -> list[list[str]]:
    """The numbers of a list or of corners, as written."""
    numbers = [number for quad in _QUADS.findall(text) for number in _NUMBER.findall(quad)]
    return [numbers[k : k + 4] for k in range(0, len(numbers) - len(numbers) % 4, 4)]


def _of_objects(text: str, declared: BoxFormat) -> tuple[BoxFormat, list[list[str]]]:
    """The format of a JSON text, with what its objects state beside box and label, and its numbers."""
    known = declared if any(mark in text for mark in declared.marks) else FORMATS["qwen3_vl"]
    key = known.marks[0].strip('"')
    exact = json.loads(text, parse_int=str, parse_float=str)
    items = json.loads(text)
    further = [{k: v for k, v in item.items() if k not in (key, "label")} for item in _several(items)]
    put: Callable[[Rows, Labels], str] = partial(objects, key=key, further=further if any(further) else ())
    if isinstance(items, dict):
        put = partial(_object, put=put)
    return replace(known, put=put), [item[key] for item in _several(exact)]


def _object(rows: Rows, labels: Labels, *, put: Callable[[Rows, Labels], str]) -> str:
    """A single object without a list, a list for any other number."""
    text = put(rows, labels)
    return text[1:-1] if len(rows) == 1 else text


def _several(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else [value]


def _variants() -> tuple[BoxFormat, ...]:
    """The formats that are read alike, and their commoner variants: a box without a list, commas without a space."""
    shared = [known for known in FORMATS.values() if not known.own]
    boxed, bare = FORMATS["medmo"], FORMATS["lists"]
    alone = [replace(boxed, put=partial(single, tags=BOX)), replace(bare, put=single)]
    lists: list[tuple[BoxFormat, Callable[..., str]]] = [
        (boxed, partial(listed, tags=BOX)),
        (bare, listed),
        (boxed, partial(single, tags=BOX)),
        (bare, single),
    ]
    return (*shared, *alone, *(replace(known, put=partial(put, comma=",")) for known, put in lists))


_VARIANTS = _variants()
