"""Strict, linear-time readers of boxes in an answer; every result has a status and its spans.

Every pattern is possessive or stops at the next bracket, so no text makes it backtrack. Nothing is repaired: what is
not exactly one of the accepted forms has a status that says why.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

ParseStatus: TypeAlias = Literal[
    "ok",
    "no_answer",
    "ambiguous",
    "truncated",
    "no_boxes",
    "bad_form",
    "bad_number",
    "out_of_range",
    "undeclared_format",
]
Span: TypeAlias = tuple[int, int]
Box: TypeAlias = tuple[float, float, float, float]

_LONGEST = 32  # digits
_NUM = rf"-?+[0-9]{{1,{_LONGEST}}}+(?:\.[0-9]{{1,{_LONGEST}}}+)?+(?:[eE][+-]?+[0-9]{{1,4}}+)?+"
_QUAD = rf"\[\s*+{_NUM}\s*+(?:,\s*+{_NUM}\s*+){{3}}+\]"
_NUMBER = re.compile(_NUM)
_DIGITS = re.compile(r"[0-9]{1,32}+")
_ONE_BOX = re.compile(_QUAD)
_LIST = re.compile(rf"\s*+\[\s*+(?:{_QUAD}\s*+(?:,\s*+{_QUAD}\s*+)*+)?+\]\s*+")
_CORNERS = re.compile(rf"\s*+\(\s*+{_NUM}\s*+,\s*+{_NUM}\s*+\)\s*+,\s*+\(\s*+{_NUM}\s*+,\s*+{_NUM}\s*+\)\s*+")
# A bracket that may open boxes; one that holds words, as in "[left] lung", does not.
_OPENING = re.compile(r"\[\s*+(?=[\[\]+\-.0-9]|(?i:nan|inf|infinity)\b|\Z)")
# The separator of a box without a label is no label.
_LOCS = re.compile(r"((?:<loc[0-9]{4}>){4}(?:\s*+;)?+)([^<;]*+);?+")
_LOC_CUT = re.compile(r"<(?:l(?:o(?:c[0-9]{0,4}+)?)?)?\Z|<loc[0-9]{4}>\Z")
_ITEM = re.compile(r"[^\s,\[\]()]++")
_DECODER = json.JSONDecoder()
_BARE_CORNERS = re.compile(_CORNERS.pattern.removeprefix(r"\s*+"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedBoxes:
    """The boxes of an answer as written, `(x1, y1, x2, y2)` each, in the order of the text.

    `spans` are the stretches of the answer that hold boxes; `labels`, `image` and `scores` come from the forms
    that state them, and are there for every box or not at all. `seen` is the mark of an undeclared format.
    """

    status: ParseStatus
    xyxy: tuple[Box, ...] = ()
    labels: tuple[str, ...] | None = None
    image: tuple[int, ...] | None = None
    scores: tuple[float, ...] | None = None
    spans: tuple[Span, ...] = ()
    seen: str = ""

    @property
    def reason(self) -> str:
        """The status, with what was seen instead of the declared format."""
        return f"{self.status}: {self.seen}" if self.seen else self.status


def read_loc(answer: str) -> ParsedBoxes:
    """Boxes of four `<loc0123>` each, as written, with the label behind them, up to `;` or the next box."""
    found = list(_LOCS.finditer(answer))
    spans = tuple((match.start(), match.start() + len(match.group().rstrip())) for match in found)
    if answer.count("<loc") != 4 * len(found):
        cut = _LOC_CUT.search(answer) is not None
        return ParsedBoxes(status="truncated" if cut else "bad_form", spans=spans)
    labels = tuple(match[2].strip() for match in found)
    numbers = _DIGITS.findall("".join(match[1] for match in found))
    return _boxes(numbers, spans=spans, labels=labels if labels and all(labels) else None)


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


def read_tagged(
    answer: str,
    *,
    tags: tuple[str, str],
    inside: Callable[[str], list[str] | None],
    ref: tuple[str, str] = ("", ""),
) -> ParsedBoxes:
    """Boxes between tags, as written; the label of each stretch may stand in front of it, in tags of its own.

    `inside` takes the numbers out of what the tags hold: `listed_numbers`, `corner_numbers`, or either.
    """
    opening, closing = tags
    spans, status = _tags(answer, opening, closing)
    if status != "ok":
        return ParsedBoxes(status=status, spans=spans)
    numbers: list[str] = []
    counts = []
    for start, end in spans:
        text = answer[start + len(opening) : end - len(closing)]
        found = inside(text)
        if found is None:
            return ParsedBoxes(status=_diagnose(text), spans=spans)
        numbers += found
        counts.append(len(found) // 4)
    if ref[0] == "" or ref[0] not in answer:
        return _boxes(numbers, spans=spans)
    return _boxes(numbers, **_labelled(answer, spans, counts, ref))


def _labelled(answer: str, spans: tuple[Span, ...], counts: list[int], ref: tuple[str, str]) -> dict[str, Any]:
    """The labels of stretches that hold so many boxes each, and the spans with them: a label is then no word.

    Without labels where one has none.
    """
    opening, closing = ref
    labels: list[str] = []
    whole: list[Span] = []
    previous = 0
    for (begin, end), count in zip(spans, counts, strict=True):
        before = answer[previous:begin].rstrip()
        start = before.rfind(opening) if before.endswith(closing) else -1
        if start < 0:
            return {"spans": spans}
        labels += [before[start + len(opening) : -len(closing)].strip()] * count
        whole.append((previous + start, end))
        previous = end
    return {"spans": tuple(whole), "labels": tuple(labels)} if labels else {"spans": spans}


def corner_numbers(text: str) -> list[str] | None:
    """The numbers of `(x1, y1), (x2, y2)` as written; None where the text is anything else."""
    return _NUMBER.findall(text) if _CORNERS.fullmatch(text) else None


def listed_numbers(text: str) -> list[str] | None:
    """The numbers of a list of boxes, or of one box, as written; None where the text is anything else.

    The usual writing, whole numbers with one space after each comma, is known by writing its numbers again: that
    takes a tenth of the time of the pattern.
    """
    written = text[2:-2].replace("], [", ", ").split(", ")
    if len(written) % 4 == 0 and text == _usual(written) and _are_digits(written):
        return written
    return _NUMBER.findall(text) if _LIST.fullmatch(text) or _ONE_BOX.fullmatch(text.strip()) else None


def either_numbers(text: str) -> list[str] | None:
    """The numbers of a list of boxes or of corners."""
    return corner_numbers(text) if "(" in text else listed_numbers(text)


def _are_digits(written: list[str]) -> bool:
    """Whether each is a whole number without a sign, as `_NUMBER` limits it."""
    digits = "".join(written)
    return digits.isdigit() and digits.isascii() and "" not in written and max(map(len, written)) <= _LONGEST


def _usual(numbers: list[str]) -> str:
    """The usual writing of boxes: `[[010, 020, 030, 040], [050, 060, 070, 080]]`."""
    return _usual_form(len(numbers) // 4) % tuple(numbers)


@lru_cache(maxsize=64)
def _usual_form(count: int) -> str:
    return f"[{', '.join(['[%s, %s, %s, %s]'] * count)}]"


def read_bare(answer: str) -> ParsedBoxes:
    """The only list of an answer, or its corners `(x1,y1),(x2,y2)`, as written."""
    opening = _OPENING.search(answer)
    if opening is None:
        pairs = list(_BARE_CORNERS.finditer(answer)) if "(" in answer else []
        if not pairs:
            return ParsedBoxes(status="no_boxes")
        return _boxes(_NUMBER.findall("".join(pair.group() for pair in pairs)), spans=tuple(p.span() for p in pairs))
    start = opening.start()
    match = _LIST.match(answer, start) or _ONE_BOX.match(answer, start)
    if match is None:
        return ParsedBoxes(status=_diagnose(answer[start:]))
    if _ONE_BOX.search(answer, match.end()):
        return ParsedBoxes(status="ambiguous")
    return _boxes(_NUMBER.findall(match.group()), spans=(match.span(),))


def read_json(answer: str, *, key: str) -> ParsedBoxes:
    """Boxes under this key of one JSON list or object, as written, with what stands beside them."""
    start = answer.rfind("{", 0, answer.index(f'"{key}"'))
    before = answer[: max(start, 0)].rstrip()
    start = len(before) - 1 if before.endswith("[") else start
    if start < 0:
        return ParsedBoxes(status="bad_form")
    try:
        value, end = _DECODER.raw_decode(answer, start)
    except json.JSONDecodeError as problem:
        cut = problem.pos >= len(answer.rstrip()) or problem.msg.startswith("Unterminated")
        return ParsedBoxes(status="truncated" if cut else "bad_form", spans=((start, len(answer)),))
    except (RecursionError, ValueError):  # brackets nested thousands deep; an integer of thousands of digits
        return ParsedBoxes(status="bad_form", spans=((start, len(answer)),))
    if f'"{key}"' in answer[end:]:
        return ParsedBoxes(status="ambiguous", spans=((start, end),))
    return _from_objects(value if isinstance(value, list) else [value], key, ((start, end),))


def _from_objects(items: list[object], key: str, spans: tuple[Span, ...]) -> ParsedBoxes:
    objects = [item for item in items if isinstance(item, dict)]
    quads = [item.get(key) for item in objects]
    if len(objects) < len(items) or not all(isinstance(quad, list) and len(quad) == 4 for quad in quads):
        return ParsedBoxes(status="bad_form", spans=spans)
    numbers = [value for quad in quads if isinstance(quad, list) for value in quad]
    if not all(map(_is_number, numbers)):
        return ParsedBoxes(status="bad_number", spans=spans)
    if numbers and max(map(abs, numbers)) >= 1e308:
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
    if not math.isfinite(sum(numbers)) and not all(map(math.isfinite, numbers)):  # the sum first: it is faster
        return ParsedBoxes(status="out_of_range", spans=spans)
    each = iter(numbers)
    return ParsedBoxes(status="ok", xyxy=tuple(zip(each, each, each, each, strict=True)), labels=labels, spans=spans)


def _diagnose(text: str) -> ParseStatus:
    """Why text is not a list of boxes."""
    if text.count("[") > text.count("]"):
        return "truncated"
    numeric = all(_NUMBER.fullmatch(item.group()) for item in _ITEM.finditer(text))
    return "bad_form" if numeric else "bad_number"
