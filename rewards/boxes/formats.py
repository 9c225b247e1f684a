"""How models write boxes: each format once, with its writer and its reader. A new one is an entry of `FORMATS`.

The facts are those of the models' own cards and processors. A format is declared, never guessed.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.reading import ParsedBoxes, read_json, read_loc, read_only, read_tagged, read_x_first
from groundrl.rewards.boxes.spaces import Boxes, BoxSpace, rel1, rel999, rel1000, rel1024

Rows: TypeAlias = Sequence[Sequence[str]]  # four numbers as text for each box, in the format's own order
Labels: TypeAlias = Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class BoxFormat:
    """A format: `put` makes text of boxes, `get` reads them back.

    `space` is None where it is that of the image as the model sees it. `labelled`: the label of each box is part of the
    form. `y_first`: `y1, x1, y2, x2`. `own`: of another order or space than x first in thousandths, as its marks show
    (`reading.OWN`): then nothing else is read under it, and it is not read under anything else.
    """

    name: str
    put: Callable[[Rows, Labels], str]
    get: Callable[[str], ParsedBoxes] = read_x_first
    space: BoxSpace | None = rel1000
    largest: float | None = None
    decimals: int = 0
    labelled: bool = False
    y_first: bool = False
    own: bool = False

    def read(self, answer: str) -> ParsedBoxes:
        """The boxes of an answer, x first."""
        found = read_only(answer, self.name, self.get) if self.own else self.get(answer)
        if not self.y_first:
            return found
        return replace(found, xyxy=tuple((x1, y1, x2, y2) for y1, x1, y2, x2 in found.xyxy))

    def write(self, xyxy: Float[np.ndarray, "N 4"], labels: Labels = None) -> str:
        """Boxes, x first and in the format's space, as text; their labels where it states them."""
        if self.y_first:
            xyxy = xyxy[:, [1, 0, 3, 2]]
        rows = [[self._number(value) for value in box] for box in xyxy.tolist()]
        return self.put(rows, labels if self.labelled else None)

    def _number(self, value: float) -> str:
        return f"{value:.{self.decimals}f}" if self.decimals else str(round(value))

    def declared(self, space: BoxSpace | None = None) -> BoxSpace:
        """What an example declares as its `box_space`; `space` is that of the seen image, where the format's is."""
        own = self.space if self.space is not None else space
        if own is None:
            raise ValueError(
                f"the box format {self.name} is in pixels of the image as the model sees it; set it by model.boxes"
            )
        return replace(own, format=self.name)

    def gold(self, boxes: Boxes, labels: Labels = None, *, space: BoxSpace | None = None) -> str:
        """True boxes as text: inside what the format can write, each with an area of at least one step."""
        own = self.declared(space)
        step = 10.0**-self.decimals
        limit = np.array([own.width, own.height] * 2) if self.largest is None else np.full(4, self.largest)
        xyxy = np.clip(np.round(boxes.to(own).xyxy, self.decimals), 0.0, limit)
        low = np.minimum(xyxy[:, :2], limit[:2] - step)
        return self.write(np.concatenate([low, np.maximum(xyxy[:, 2:], low + step)], axis=1), labels)


def listed(rows: Rows, labels: Labels = None, *, opening: str = "", closing: str = "") -> str:
    """`[[a, b, c, d], ...]`, between tags where there are any."""
    quads = ", ".join(f"[{', '.join(row)}]" for row in rows)
    return f"{opening}[{quads}]{closing}"


def named_lists(rows: Rows, labels: Labels, *, tags: tuple[str, str], ref: tuple[str, str]) -> str:
    """One tagged list for each box behind its label, one for all where they have none."""
    if not labels:
        return listed(rows, opening=tags[0], closing=tags[1])
    pairs = zip(rows, labels, strict=True)
    return "".join(f"{ref[0]}{label}{ref[1]}{listed([row], opening=tags[0], closing=tags[1])}" for row, label in pairs)


def corners(
    rows: Rows, labels: Labels, *, tags: tuple[str, str] = ("", ""), ref: tuple[str, str] = ("", ""), gap: str = ""
) -> str:
    """`(a,b),(c,d)` for each box, behind its label; `[]` for none."""
    heads = [f"{ref[0]}{label}{ref[1]}" for label in labels or ()] or [""] * len(rows)
    each = (f"{head}{tags[0]}({a},{b}),({c},{d}){tags[1]}" for head, (a, b, c, d) in zip(heads, rows, strict=True))
    return gap.join(each) or "[]"


def objects(rows: Rows, labels: Labels, *, key: str = "bbox_2d", further: Mapping[str, Any] | None = None) -> str:
    """`[{"bbox_2d": [a, b, c, d], "label": "..."}]`; `further` is what every object states besides."""
    texts = []
    for index, row in enumerate(rows):
        own = {"label": labels[index]} if labels is not None else {}
        rest = "".join(f", {json.dumps(k)}: {json.dumps(v)}" for k, v in {**own, **(further or {})}.items())
        texts.append(f'{{"{key}": [{", ".join(row)}]{rest}}}')
    return f"[{', '.join(texts)}]"


def loc(rows: Rows, labels: Labels) -> str:
    """`<loc0123><loc0456><loc0789><loc1000> label ; ...`; `[]` for none."""
    clipped = ["".join(f"<loc{min(max(int(value), 0), 1023):04d}>" for value in row) for row in rows]
    return " ; ".join(f"{row} {labels[index]}" if labels else row for index, row in enumerate(clipped)) or "[]"


_BOX, _QWEN2, _DET = ("<box>", "</box>"), ("<|box_start|>", "<|box_end|>"), ("<|det|>", "<|/det|>")
_GLM = ("<|begin_of_box|>", "<|end_of_box|>")

FORMATS = {
    known.name: known
    for known in (
        BoxFormat(name="medmo", put=partial(listed, opening=_BOX[0], closing=_BOX[1])),
        BoxFormat(name="internvl", put=partial(named_lists, tags=_BOX, ref=("<ref>", "</ref>")), labelled=True),
        BoxFormat(name="qwen3_vl", put=objects, labelled=True),
        BoxFormat(name="qwen25_vl", put=objects, space=None, labelled=True),
        BoxFormat(
            name="qwen2_vl",
            put=partial(corners, tags=_QWEN2, ref=("<|object_ref_start|>", "<|object_ref_end|>")),
            labelled=True,
        ),
        BoxFormat(name="qwen_vl", put=partial(corners, tags=_BOX, ref=("<ref>", "</ref>")), labelled=True),
        BoxFormat(name="corners", put=partial(corners, gap=" ")),
        BoxFormat(name="lists", put=listed),
        BoxFormat(name="unit", put=listed, space=rel1, largest=1.0, decimals=3),
        BoxFormat(
            name="gemini",
            put=partial(objects, key="box_2d"),
            get=partial(read_json, key="box_2d"),
            labelled=True,
            y_first=True,
            own=True,
        ),
        BoxFormat(
            name="paligemma", put=loc, get=read_loc, space=rel1024, largest=1023.0,
            labelled=True, y_first=True, own=True
        ),
        BoxFormat(
            name="deepseek_vl2",
            put=partial(named_lists, tags=_DET, ref=("<|ref|>", "<|/ref|>")),
            get=partial(read_tagged, opening=_DET[0], closing=_DET[1]),
            space=rel999,
            labelled=True,
            own=True,
        ),
        BoxFormat(
            name="glm_v",
            put=partial(listed, opening=_GLM[0], closing=_GLM[1]),
            get=partial(read_tagged, opening=_GLM[0], closing=_GLM[1]),
            space=rel999,
            own=True,
        ),
    )
}  # fmt: skip


def box_format(name: str) -> BoxFormat:
    """The format of this name. ValueError, with the nearest name, for any other."""
    found = FORMATS.get(name)
    if found is None:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(FORMATS)}"
        raise ValueError(f"no box format is called {name!r}; {hint}")
    return found
