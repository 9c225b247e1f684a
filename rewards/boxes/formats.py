"""How models write boxes: each format once, with its writer, reader and source. A new one is an entry of `FORMATS`.

A format is declared, never guessed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.reading import (
    ParsedBoxes,
    corner_numbers,
    either_numbers,
    listed_numbers,
    read_bare,
    read_json,
    read_loc,
    read_tagged,
)
from groundrl.rewards.boxes.spaces import Boxes, BoxSpace, rel1, rel999, rel1000, rel1024
from groundrl.rewards.boxes.writing import NONE, Labels, Rows, corners, listed, loc, named_lists, objects


@dataclass(frozen=True, kw_only=True)
class BoxFormat:
    """A format: `put` makes text of boxes, `get` reads them back; `source` says who writes it and where that stands.

    `space` is None where it is that of the image as the model sees it. Numbers have `digits` before the point (padded
    with zeros) and `decimals` behind it; gold answers go up to `largest`. `labelled`: the label of each box is part of
    the form, in the tags `ref` where it has such. `y_first`: `y1, x1, y2, x2`. `marks` show the format: texts, patterns
    in an own format. `own`: of another order or space than x first in thousandths: then nothing else is read under it,
    and it is not read under anything else.
    """

    name: str
    source: str
    put: Callable[[Rows, Labels], str]
    get: Callable[[str], ParsedBoxes] = read_bare
    space: BoxSpace | None = rel1000
    digits: int = 1
    decimals: int = 0
    largest: float | None = None
    labelled: bool = False
    ref: tuple[str, str] = NONE
    y_first: bool = False
    marks: tuple[str, ...] = ()
    own: bool = False

    def read(self, answer: str) -> ParsedBoxes:
        """The boxes of an answer, x first."""
        if not self.own:
            return _read_shared(answer)
        found = self._read_only(answer)
        if not self.y_first:
            return found
        return replace(found, xyxy=tuple((x1, y1, x2, y2) for y1, x1, y2, x2 in found.xyxy))

    def _read_only(self, answer: str) -> ParsedBoxes:
        """Boxes of this format and no other; a bare `[]` says that there are none."""
        seen = {found.lastgroup: found.group() for found in _OWN.finditer(answer)}
        seen |= {mark: mark for mark, _ in _SHARED if mark in answer}
        if self.name in seen:
            return self.get(answer) if len(seen) == 1 else ParsedBoxes(status="ambiguous")
        if seen:
            return _undeclared(next(iter(seen.values())))
        bare = read_bare(answer)
        return bare if bare.status != "ok" or not bare.xyxy else replace(_undeclared("bare boxes"), spans=bare.spans)

    def write(self, xyxy: Float[np.ndarray, "N 4"], labels: Labels = None) -> str:
        """Boxes, x first and in the format's space, as text; their labels where it states them."""
        if self.y_first:
            xyxy = xyxy[:, [1, 0, 3, 2]]
        rows = [[self._number(value) for value in box] for box in xyxy.tolist()]
        return self.put(rows, labels if self.labelled else None)

    def _number(self, value: float) -> str:
        return f"{value:.{self.decimals}f}" if self.decimals else f"{round(value):0{self.digits}d}"

    @property
    def patterns(self) -> tuple[str, ...]:
        """Its marks as patterns."""
        return self.marks if self.own else tuple(map(re.escape, self.marks))

    @property
    def asked(self) -> str:
        """How a prompt asks for it: `<box>[[x1, y1, x2, y2]]</box>, from 0 to 1000`."""
        names = ("y1", "x1", "y2", "x2") if self.y_first else ("x1", "y1", "x2", "y2")
        form = self.put([names], ("label",) if self.labelled else None)
        return f"{form}, in pixels" if self.space is None else f"{form}, from 0 to {self.space.width:g}"

    def declared(self, space: BoxSpace | None = None) -> BoxSpace:
        """What an example declares as its `box_space`; `space` is that of the seen image, where the format's is."""
        own = self.space if self.space is not None else space
        if own is None:
            raise ValueError(
                f"the box format {self.name} is in pixels of the image as the model sees it; set it by model.boxes"
            )
        return replace(own, format=self.name)

    def rounded(self, boxes: Boxes, *, space: BoxSpace | None = None) -> Float[np.ndarray, "N 4"]:
        """True boxes as a gold answer states them: inside what it can write, each with an area of at least one step.

        A side that rounds to nothing becomes a step long: a box without area would not satisfy its own reward.
        """
        own = self.declared(space)
        step = 10.0**-self.decimals
        limit = np.array([own.width, own.height] * 2) if self.largest is None else np.full(4, self.largest)
        xyxy = np.clip(np.round(boxes.to(own).xyxy, self.decimals), 0.0, limit)
        low = np.minimum(xyxy[:, :2], limit[:2] - step)
        return np.concatenate([low, np.maximum(xyxy[:, 2:], low + step)], axis=1)

    def gold(self, boxes: Boxes, labels: Labels = None, *, space: BoxSpace | None = None) -> str:
        """True boxes as the text of a gold answer."""
        return self.write(self.rounded(boxes, space=space), labels)


def _undeclared(seen: str) -> ParsedBoxes:
    return ParsedBoxes(status="undeclared_format", seen=seen.strip('"'))


def _read_shared(answer: str) -> ParsedBoxes:
    """Boxes of any form that writes x first in a space that no mark shows; two forms at once are `ambiguous`."""
    if "<" not in answer and '"' not in answer:  # a mark has the one or the other
        return read_bare(answer)
    found: Callable[[str], ParsedBoxes] | None = None
    for mark, get in _SHARED:
        if mark in answer and get is not found:
            if found is not None:
                return ParsedBoxes(status="ambiguous")
            found = get
    if found is not None:
        return found(answer)
    other = _OWN.search(answer)
    return read_bare(answer) if other is None else _undeclared(other.group())


BOX, _QWEN2, _DET = ("<box>", "</box>"), ("<|box_start|>", "<|box_end|>"), ("<|det|>", "<|/det|>")
_GLM = ("<|begin_of_box|>", "<|end_of_box|>")
_REF, _QWEN2_REF = ("<ref>", "</ref>"), ("<|object_ref_start|>", "<|object_ref_end|>")
_DET_REF = ("<|ref|>", "<|/ref|>")
_TAGGED = partial(read_tagged, tags=BOX, ref=_REF, inside=either_numbers)
_BBOX = partial(read_json, key="bbox_2d")

FORMATS = {
    known.name: known
    for known in (
        BoxFormat(
            name="medmo",
            source="MedMO: arXiv 2602.06965, model card. Three digits: each coordinate takes as many tokens.",
            put=partial(listed, tags=BOX),
            get=_TAGGED,
            digits=3,
            largest=999.0,
            marks=BOX,
        ),
        BoxFormat(
            name="internvl",
            source="InternVL2: model card, grounding.",
            put=partial(named_lists, tags=BOX, ref=_REF),
            get=_TAGGED,
            labelled=True,
            ref=_REF,
            marks=BOX,
        ),
        BoxFormat(
            name="qwen3_vl",
            source="Qwen3-VL: cookbook 2d_grounding. Thousandths.",
            put=objects,
            get=_BBOX,
            labelled=True,
            marks=('"bbox_2d"',),
        ),
        BoxFormat(
            name="qwen25_vl",
            source="Qwen2.5-VL: cookbook spatial_understanding. Pixels of the resized image.",
            put=objects,
            get=_BBOX,
            space=None,
            labelled=True,
            marks=('"bbox_2d"',),
        ),
        BoxFormat(
            name="qwen2_vl",
            source="Qwen2-VL: arXiv 2409.12191.",
            put=partial(corners, tags=_QWEN2, ref=_QWEN2_REF),
            get=partial(read_tagged, tags=_QWEN2, ref=_QWEN2_REF, inside=corner_numbers),
            labelled=True,
            ref=_QWEN2_REF,
            marks=_QWEN2[:1],
        ),
        BoxFormat(
            name="qwen_vl",
            source="Qwen-VL: arXiv 2308.12966.",
            put=partial(corners, tags=BOX, ref=_REF),
            get=_TAGGED,
            labelled=True,
            ref=_REF,
            marks=BOX,
        ),
        BoxFormat(name="corners", source="Qwen-VL's corners without tags.", put=partial(corners, gap=" ")),
        BoxFormat(name="lists", source="MedMO's lists without tags.", put=listed),
        BoxFormat(
            name="unit",
            source="LLaVA-Med; RadVLM: arXiv 2502.03333. Shares of the image.",
            put=listed,
            space=rel1,
            decimals=3,
        ),
        BoxFormat(
            name="glm_v",
            source="GLM-4.1V and later: arXiv 2507.01006, model card. Its tags show no boxes: any answer has them.",
            put=partial(listed, tags=_GLM),
        ),
        BoxFormat(
            name="gemini",
            source="Gemini API: image understanding; Gemma 3. y first.",
            put=partial(objects, key="box_2d"),
            get=partial(read_json, key="box_2d"),
            labelled=True,
            y_first=True,
            marks=('"box_2d"',),
            own=True,
        ),
        BoxFormat(
            name="paligemma",
            source="PaliGemma: arXiv 2407.07726, detection. y first, 1024 bins.",
            put=loc,
            get=read_loc,
            space=rel1024,
            digits=4,
            largest=1023.0,
            labelled=True,
            y_first=True,
            marks=("<loc(?=[0-9])",),
            own=True,
        ),
        BoxFormat(
            name="deepseek_vl2",
            source="DeepSeek-VL2: arXiv 2412.10302, README and demo. 0 to 999.",
            put=partial(named_lists, tags=_DET, ref=_DET_REF),
            get=partial(read_tagged, tags=_DET, ref=_DET_REF, inside=listed_numbers),
            space=rel999,
            labelled=True,
            ref=_DET_REF,
            marks=(r"<\|det\|>",),
            own=True,
        ),
    )
}
_SHARED = tuple({mark: known.get for known in FORMATS.values() if not known.own for mark in known.marks}.items())
_OWN = re.compile("|".join(f"(?P<{known.name}>{'|'.join(known.marks)})" for known in FORMATS.values() if known.own))
REFS = tuple(dict.fromkeys(known.ref for known in FORMATS.values() if known.ref != NONE))


def box_format(name: str) -> BoxFormat:
    """The format of this name. ValueError, with the nearest name, for any other."""
    found = FORMATS.get(name)
    if found is None:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(FORMATS)}"
        raise ValueError(f"no box format is called {name!r}; {hint}")
    return found
