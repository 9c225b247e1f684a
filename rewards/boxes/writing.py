"""Boxes as text: each form once. A format of `formats.py` names the form, its tags and its keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Rows: TypeAlias = Sequence[Sequence[str]]  # four numbers as text for each box, in the format's own order
Labels: TypeAlias = Sequence[str] | None
NONE = ("", "")  # no tags


def listed(rows: Rows, labels: Labels = None, *, tags: tuple[str, str] = NONE, comma: str = ", ") -> str:
    """`[[a, b, c, d], ...]`, between tags where there are any."""
    quads = comma.join(f"[{comma.join(row)}]" for row in rows)
    return f"{tags[0]}[{quads}]{tags[1]}"


def single(rows: Rows, labels: Labels = None, *, tags: tuple[str, str] = NONE, comma: str = ", ") -> str:
    """`[a, b, c, d]` for each box, between tags of its own; without tags for a single one, else a list."""
    if not rows or (len(rows) > 1 and tags == NONE):
        return listed(rows, tags=tags, comma=comma)
    return "".join(f"{tags[0]}[{comma.join(row)}]{tags[1]}" for row in rows)


def named_lists(rows: Rows, labels: Labels, *, tags: tuple[str, str], ref: tuple[str, str]) -> str:
    """One tagged list for each box behind its label, one for all where they have none."""
    if not labels:
        return listed(rows, tags=tags)
    pairs = zip(rows, labels, strict=True)
    return "".join(f"{ref[0]}{label}{ref[1]}{listed([row], tags=tags)}" for row, label in pairs)


def corners(
    rows: Rows, labels: Labels, *, tags: tuple[str, str] = NONE, ref: tuple[str, str] = NONE, gap: str = ""
) -> str:
    """`(a,b),(c,d)` for each box, behind its label; `[]` for none."""
    heads = [f"{ref[0]}{label}{ref[1]}" for label in labels or ()] or [""] * len(rows)
    each = (f"{head}{tags[0]}({a},{b}),({c},{d}){tags[1]}" for head, (a, b, c, d) in zip(heads, rows, strict=True))
    return gap.join(each) or "[]"


def objects(rows: Rows, labels: Labels, *, key: str = "bbox_2d", further: Sequence[Mapping[str, Any]] = ()) -> str:
    """`[{"bbox_2d": [a, b, c, d], "label": "..."}]`; `further`: what each states besides."""
    texts = []
    for index, row in enumerate(rows):
        own = {"label": labels[index]} if labels is not None else {}
        besides = further[index if index < len(further) else 0] if further else {}
        rest = "".join(f", {_json(k)}: {_json(v)}" for k, v in {**own, **besides}.items())
        texts.append(f'{{"{key}": [{", ".join(row)}]{rest}}}')
    return f"[{', '.join(texts)}]"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def loc(rows: Rows, labels: Labels) -> str:
    """`<loc0123><loc0456><loc0789><loc1000> label ; ...`; `[]` for none."""
    written = ["".join(f"<loc{value}>" for value in row) for row in rows]
    return " ; ".join(f"{row} {labels[index]}" if labels else row for index, row in enumerate(written)) or "[]"
