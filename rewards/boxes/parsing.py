"""One strict, linear-time parser for answers and the boxes in them; every result has a status and its span.

Every pattern is possessive or stops at the next bracket, so no text makes it backtrack. Nothing is repaired: what is
not exactly one of the accepted forms has a status that says why.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

ParseStatus: TypeAlias = Literal[
    "ok", "no_answer", "ambiguous", "truncated", "no_boxes", "bad_form", "bad_number", "out_of_range"
]
Span: TypeAlias = tuple[int, int]
Box: TypeAlias = tuple[float, float, float, float]

_NUM = r"-?+[0-9]{1,32}+(?:\.[0-9]{1,32}+)?+(?:[eE][+-]?+[0-9]{1,4}+)?+"
_QUAD = rf"\[\s*+{_NUM}\s*+(?:,\s*+{_NUM}\s*+){{3}}+\]"
_NUMBER = re.compile(_NUM)
_DIGITS = re.compile(r"[0-9]{1,32}+")
_ONE_BOX = re.compile(_QUAD)
_LIST = re.compile(rf"\s*+\[\s*+(?:{_QUAD}\s*+(?:,\s*+{_QUAD}\s*+)*+)?+\]\s*+")
_CORNERS = re.compile(rf"\s*+\(\s*+{_NUM}\s*+,\s*+{_NUM}\s*+\)\s*+,\s*+\(\s*+{_NUM}\s*+,\s*+{_NUM}\s*+\)\s*+")
# A bracket that may open boxes; one that holds words, as in "[left] lung", does not.
_OPENING = re.compile(r"\[\s*+(?=[\[\]+\-.0-9]|(?i:nan|inf|infinity)\b|\Z)")
_ITEM = re.compile(r"[^\s,\[\]()]++")
_REF = ("<|object_ref_start|>", "<|object_ref_end|>")
_MARKS = (*_REF, "```json", "```")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedAnswer:
    """The final answer: its `text` (None unless `status` is `ok`) and where it stands in the completion."""

    text: str | None
    status: ParseStatus
    span: Span = (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedBoxes:
    """The boxes of an answer as written, `(x1, y1, x2, y2)` each, in the order of the text.

    `spans` are the stretches of the answer that hold boxes; `labels`, `image` and `scores` come from the forms
    that state them, and are there for every box or not at all.
    """

    status: ParseStatus
    xyxy: tuple[Box, ...] = ()
    labels: tuple[str, ...] | None = None
    image: tuple[int, ...] | None = None
    scores: tuple[float, ...] | None = None
    spans: tuple[Span, ...] = ()


def parse_answer(text: str, *, lenient: bool = False) -> ParsedAnswer:
    """The answer in a completion: what follows the last `</think>`, and the inside of the only `<answer>` pair.

    Several pairs are `ambiguous`, an unclosed `<think>` or `<answer>` is `truncated`, nothing left is `no_answer`.
    With `lenient`, the last pair is taken and an unclosed tag is read to the end.
    """
    start = text.rfind("</think>")
    start = 0 if start < 0 else start + len("</think>")
    if text.find("<think>", start) >= 0 and not lenient:
        return ParsedAnswer(text=None, status="truncated")
    opened, closed = text.count("<answer>", start), text.count("</answer>", start)
    end = len(text)
    if opened or closed:
        first = text.rfind("<answer>", start) + len("<answer>")
        last = text.find("</answer>", first)
        if not lenient and (opened > 1 or closed > 1 or not opened):
            return ParsedAnswer(text=None, status="ambiguous")
        if not lenient and last < 0:
            return ParsedAnswer(text=None, status="truncated" if not closed else "ambiguous")
        start, end = (first if opened else start), (last if last >= 0 else end)
    answer = text[start:end]
    if not answer or answer.isspace():
        return ParsedAnswer(text=None, status="no_answer")
    return ParsedAnswer(text=answer, status="ok", span=(start, end))


def parse_boxes(answer: str, *, lenient: bool = False) -> ParsedBoxes:
    """The boxes of an answer, always read as `x1, y1, x2, y2`.

    Accepted: any number of `<box>[[..], ..]</box>` (or `<box>[a, b, c, d]</box>`, `<box>[]</box>` for none); one bare
    `[[..], ..]`, `[a, b, c, d]` or `[]`; any number of `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`; one JSON list or
    object with `bbox_2d` (and `label`, `score`, `image`). Two forms at once, or two bare lists, are `ambiguous`.
    Zero-padded numbers are legal outside JSON. With `lenient`, every `[a, b, c, d]` anywhere counts and nothing fails.
    """
    if lenient:
        found = list(_ONE_BOX.finditer(answer))
        return _boxes(_NUMBER.findall("".join(m.group() for m in found)), spans=tuple(m.span() for m in found))
    tagged, qwen, quoted = "<box>" in answer or "</box>" in answer, "<|box_start|>" in answer, '"bbox_2d"' in answer
    if tagged + qwen + quoted > 1:
        return ParsedBoxes(status="ambiguous")
    if tagged:
        return _parse_tagged(answer, "<box>", "</box>")
    if qwen:
        return _parse_tagged(answer, "<|box_start|>", "<|box_end|>")
    return _parse_json(answer) if quoted else _parse_bare(answer)


def parse_label(answer: str, boxes: ParsedBoxes | None = None) -> str:
    """The label of an answer: its text without the boxes, stripped (empty where there is none).

    `boxes` are those of this answer, if they are parsed already.
    """
    spans = (parse_boxes(answer) if boxes is None else boxes).spans
    edges = [0, *(edge for span in spans for edge in span), len(answer)]
    label = " ".join([answer[a:b].strip() for a, b in zip(edges[::2], edges[1::2], strict=True)])
    for mark in _MARKS if spans and ("<|" in label or "```" in label) else ():
        label = label.replace(mark, "")
    return label.strip()


def _tags(answer: str, opening: str, closing: str) -> tuple[tuple[Span, ...], ParseStatus]:
    """The spans of the tagged stretches, tags included; an unclosed one reaches to the end."""
    spans: list[Span] = []
    end = 0
    while (start := answer.find(opening, end)) >= 0:
        end = answer.find(closing, start)
        if end < 0:
            return (*spans, (start, len(answer))), "truncated"
        end += len(closing)
        spans.append((start, end))
    stray = answer.count(closing) != len(spans)
    return tuple(spans), "bad_form" if stray else "ok"


def _parse_tagged(answer: str, opening: str, closing: str) -> ParsedBoxes:
    spans, status = _tags(answer, opening, closing)
    if status != "ok":
        return ParsedBoxes(status=status, spans=spans)
    corners = opening != "<box>"
    numbers: list[str] = []
    labels: list[str] = []
    previous = 0
    for start, end in spans:
        text = answer[start + len(opening) : end - len(closing)]
        found = _corners(text) if corners else _list(text)
        if found is None:
            return ParsedBoxes(status=_diagnose(text), spans=spans)
        numbers += found
        named = answer.rfind(_REF[0], previous, start) if corners and answer.endswith(_REF[1], 0, start) else -1
        if named >= 0:
            labels.append(answer[named + len(_REF[0]) : start - len(_REF[1])].strip())
        previous = end
    return _boxes(numbers, spans=spans, labels=tuple(labels) if len(labels) == len(spans) else None)


def _corners(text: str) -> list[str] | None:
    """The numbers of `(x1, y1), (x2, y2)` as written; None where the text is anything else."""
    return _NUMBER.findall(text) if _CORNERS.fullmatch(text) else None


def _list(text: str) -> list[str] | None:
    """The numbers of a list of boxes, or of one box, as written; None where the text is anything else.

    The usual writing, whole numbers with one space after each comma, is known by writing its numbers again: that
    takes a tenth of the time of the pattern.
    """
    digits = _DIGITS.findall(text)
    if len(digits) % 4 == 0 and text == _usual(digits):
        return digits
    return _NUMBER.findall(text) if _LIST.fullmatch(text) or _ONE_BOX.fullmatch(text.strip()) else None


def _usual(numbers: list[str]) -> str:
    """The usual writing of boxes: `[[010, 020, 030, 040], [050, 060, 070, 080]]`."""
    return f"[{', '.join(['[%s, %s, %s, %s]'] * (len(numbers) // 4))}]" % tuple(numbers)


def _parse_bare(answer: str) -> ParsedBoxes:
    opening = _OPENING.search(answer)
    if opening is None:
        return ParsedBoxes(status="no_boxes")
    start = opening.start()
    match = _LIST.match(answer, start) or _ONE_BOX.match(answer, start)
    if match is None:
        return ParsedBoxes(status=_diagnose(answer[start:]))
    if _ONE_BOX.search(answer, match.end()):
        return ParsedBoxes(status="ambiguous")
    return _boxes(_NUMBER.findall(match.group()), spans=(match.span(),))


def _parse_json(answer: str) -> ParsedBoxes:
    start = answer.rfind("{", 0, answer.index('"bbox_2d"'))
    before = answer[: max(start, 0)].rstrip()
    start = len(before) - 1 if before.endswith("[") else start
    if start < 0:
        return ParsedBoxes(status="bad_form")
    try:
        value, end = json.JSONDecoder().raw_decode(answer, start)
    except json.JSONDecodeError as problem:
        cut = problem.pos >= len(answer.rstrip()) or problem.msg.startswith("Unterminated")
        return ParsedBoxes(status="truncated" if cut else "bad_form", spans=((start, len(answer)),))
    except (RecursionError, ValueError):  # brackets nested thousands deep; an integer of thousands of digits
        return ParsedBoxes(status="bad_form", spans=((start, len(answer)),))
    if '"bbox_2d"' in answer[end:]:
        return ParsedBoxes(status="ambiguous", spans=((start, end),))
    return _from_objects(value if isinstance(value, list) else [value], ((start, end),))


def _from_objects(items: list[object], spans: tuple[Span, ...]) -> ParsedBoxes:
    objects = [item for item in items if isinstance(item, dict)]
    quads = [item.get("bbox_2d") for item in objects]
    if len(objects) < len(items) or not all(isinstance(quad, list) and len(quad) == 4 for quad in quads):
        return ParsedBoxes(status="bad_form", spans=spans)
    numbers = [value for quad in quads if isinstance(quad, list) for value in quad]
    if not all(map(_is_number, numbers)):
        return ParsedBoxes(status="bad_number", spans=spans)
    if not all(abs(value) < 1e308 for value in numbers):
        return ParsedBoxes(status="out_of_range", spans=spans)
    each = map(float, numbers)
    return ParsedBoxes(
        status="ok",
        xyxy=tuple(zip(each, each, each, each, strict=True)),
        labels=_column(objects, "label", lambda value: isinstance(value, str)),
        image=_column(objects, "image", lambda value: type(value) is int),
        scores=_column(objects, "score", _is_number),
        spans=spans,
    )


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and value == value


def _column(objects: list[dict[str, Any]], key: str, legal: Callable[[object], bool]) -> tuple[Any, ...] | None:
    """What every object states under this key, or None where one does not."""
    values = [item.get(key) for item in objects]
    return tuple(values) if values and all(map(legal, values)) else None


def _boxes(written: list[str], *, spans: tuple[Span, ...], labels: tuple[str, ...] | None = None) -> ParsedBoxes:
    """Boxes from numbers, four each, of text whose form is already known to be right."""
    numbers = list(map(float, written))
    if not all(map(math.isfinite, numbers)):
        return ParsedBoxes(status="out_of_range", spans=spans)
    each = iter(numbers)
    return ParsedBoxes(status="ok", xyxy=tuple(zip(each, each, each, each, strict=True)), labels=labels, spans=spans)


def _diagnose(text: str) -> ParseStatus:
    """Why text is not a list of boxes."""
    if text.count("[") > text.count("]"):
        return "truncated"
    numeric = all(_NUMBER.fullmatch(item.group()) for item in _ITEM.finditer(text))
    return "bad_form" if numeric else "bad_number"
