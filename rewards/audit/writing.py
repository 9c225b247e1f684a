"""Answers written as the gold answers are: the same frame, the same form of boxes, the same form of numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.formats import box_format, objects
from groundrl.rewards.boxes.parsing import parse_answer, parse_boxes, parse_label
from groundrl.rewards.boxes.reading import REFS, ParsedBoxes
from groundrl.rewards.boxes.spaces import BoxSpace

_QUADS = re.compile(r"[\[(]([-+.eE0-9,\s]++)[\])]")
_NUMBER = re.compile(r"[0-9]++(?:\.[0-9]++)?+")
_VARIANTS = ("tagged", "tagged one by one", "bare", "bare single", "json")  # of MedMO's, bare and JSON boxes


@dataclass(frozen=True, kw_only=True)
class Style:
    """How boxes are written: their form, digits before the point (zero-padded) and behind it, what stands between."""

    form: str = "tagged"  # one of `_VARIANTS`, or a name in `formats.FORMATS`
    width: int = 1
    decimals: int = 0
    comma: str = ", "
    keys: str = "{}"  # what a JSON object holds beside its box and its label, as JSON

    def write(self, xyxy: Float[np.ndarray, "N 4"], labels: Sequence[str] | None = None) -> str:
        """These boxes as text; `labels`, one for each, where the form states them."""
        if self.decimals:
            rows = [[f"{value:.{self.decimals}f}" for value in box] for box in xyxy.tolist()]
        else:
            rows = [[f"{value:0{self.width}d}" for value in box] for box in np.rint(xyxy).astype(np.int64).tolist()]
        if self.form == "json":
            return objects(rows, labels, further=json.loads(self.keys))
        if self.form not in _VARIANTS:
            known = box_format(self.form)
            return known.put([[b, a, d, c] for a, b, c, d in rows] if known.y_first else rows, labels)
        quads = [f"[{self.comma.join(row)}]" for row in rows]
        if self.form == "tagged one by one" and quads:
            return "".join(f"<box>{quad}</box>" for quad in quads)
        listed = quads[0] if self.form == "bare single" and len(quads) == 1 else f"[{self.comma.join(quads)}]"
        return f"<box>{listed}</box>" if self.form.startswith("tagged") else listed


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A gold answer taken apart: `head` (thinking, opening tags), the words around the boxes, `tail` (closing tags).

    `boxes` are those that it states, as written; None where it states none that can be read. `style` is None in a task
    without boxes.
    """

    head: str
    lead: str
    trail: str
    tail: str
    style: Style | None
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


def take_apart(gold: str, *, boxes: bool, default: Style | None, format: str = "medmo") -> Draft:
    """The draft of a gold answer; with `boxes`, of a task that asks for them.

    `format` is the declared one. The style is its own where it states boxes, else `default`.
    """
    parsed = parse_answer(gold)
    start, end = parsed.span if parsed.status == "ok" else (0, len(gold))
    answer, head, tail = gold[start:end], gold[:start], gold[end:]
    found = parse_boxes(answer, format=format) if boxes else ParsedBoxes(status="no_boxes")
    if found.status != "ok" or not found.spans:
        style = (default or Style()) if boxes else None
        words = answer.strip()
        return Draft(head=head, lead=answer, trail="", tail=tail, style=style, boxes=None, labels=None, words=words)
    spans = found.spans
    first, last = spans[0][0], len(answer[: spans[-1][1]].rstrip())  # a bare list is parsed with the space behind it
    between = "".join(answer[a:b] for (_, a), (b, _) in pairwise(spans))
    ref = next((pair for tag, pair in REFS.items() if answer.startswith(tag, first)), None)
    if ref is not None and answer.endswith(ref[1], 0, first):
        first, between = answer.rindex(ref[0], 0, first), ""
    if format == "paligemma":  # its labels stand behind the boxes
        between, last = "", len(answer) if found.labels else last
    own = _style(answer, found, format) if found.xyxy else None
    return Draft(
        head=head,
        lead=answer[:first],
        trail=between + answer[last:],
        tail=tail,
        style=own or default or _style(answer, found, format),
        boxes=np.array(found.xyxy, dtype=np.float64).reshape(-1, 4),
        labels=found.labels,
        words=parse_label(answer, found),
    )


def default_style(space: BoxSpace) -> Style:
    """How boxes are written where no gold answer states one: the declared form, in whole numbers but for rel1."""
    known = box_format(space.format)
    decimals = 3 if space.kind == "rel1" else 0
    return Style(form="tagged" if known.name == "medmo" else known.name, decimals=decimals)


def _style(answer: str, found: ParsedBoxes, format: str) -> Style:
    """The style of the boxes in an answer."""
    if box_format(format).own:
        return Style(form=format)
    written = answer[found.spans[0][0] : found.spans[-1][1]]
    numbers = [number for quad in _QUADS.findall(written) for number in _NUMBER.findall(quad)]
    decimals = max((len(number.partition(".")[2]) for number in numbers), default=0)
    padded = [number for number in numbers if len(number) > 1 and number.startswith("0") and "." not in number]
    return Style(
        form=_form(written),
        width=max(map(len, padded), default=1),
        decimals=decimals,
        comma=", " if ", " in written or not found.xyxy else ",",
        keys=_further_keys(written),
    )


def _form(written: str) -> str:
    if written.startswith("("):
        return "corners"
    if written.startswith("<box>") and "(" in written:
        return "qwen_vl"
    if written.startswith("<box>"):
        return "tagged" if "[[" in written.replace(" ", "") or "[]" in written else "tagged one by one"
    if written.startswith("<|box_start|>"):
        return "qwen2_vl"
    if '"bbox_2d"' in written:
        return "json"
    return "bare" if written.replace(" ", "").startswith("[[") or written.replace(" ", "") == "[]" else "bare single"


def _further_keys(written: str) -> str:
    if '"bbox_2d"' not in written:
        return "{}"
    value = json.loads(written)
    first = value[0] if isinstance(value, list) else value
    return json.dumps({key: own for key, own in first.items() if key not in ("bbox_2d", "label")})
