"""What a reward said of one text, for a person: a tree in the terminal, the boxes on the image in a notebook."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from groundrl.rewards.boxes.spaces import Boxes, pixel
from groundrl.rewards.core.glossary import Completion, Example, ImageRef, Score
from groundrl.rewards.core.highlight import STYLE, Mark, legend, marked_html, marked_lines, marks

_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))
_TRUE, _PREDICTED = "#2a9d4e", "#d9480f"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A score with what it was given for; print it, or let a notebook show it. `score` is the score itself."""

    title: str
    completion: Completion
    example: Example
    score: Score

    def __str__(self) -> str:
        lines = [self.title, f"  text    {_short(self.completion.text)}", f"  answer  {self._answer()}"]
        lines += [f"  boxes   {_count(self.completion.boxes)} predicted, {_count(self.example.reference.boxes)} true"]
        for name, text, found in self._marked():
            lines += [f"  {name}  ({legend(found)})", *(f"    {line}" for line in marked_lines(text, found))]
        return "\n".join([*lines, *_tree("total", self.score, "  ")])

    def _marked(self) -> Iterator[tuple[str, str, list[Mark]]]:
        """The texts in which the score marks something: the completion, and the reference report."""
        for name, text, key in (
            ("completion", self.completion.text, "spans"),
            ("reference", self.example.reference.report or "", "reference_spans"),
        ):
            if found := marks(self.score, key):
                yield name, text, found

    def _answer(self) -> str:
        parsed = self.completion.parsed
        return _short(parsed.text) if parsed.text is not None else f"({parsed.status})"

    def _repr_html_(self) -> str:
        """The image with true boxes (green) and predicted ones (orange, dashed), marked texts, then the tree.

        All text is escaped.
        """
        pictures = "".join(self._picture(index, image) for index, image in enumerate(self.example.images))
        texts = "".join(f"<b>{name}</b>{marked_html(text, found)}" for name, text, found in self._marked())
        return f"<div>{pictures}{STYLE if texts else ''}{texts}<pre>{escape(str(self))}</pre></div>"

    def _picture(self, index: int, image: ImageRef) -> str:
        data = image.source if isinstance(image.source, bytes) else image.source.read_bytes()
        mime = next((mime for magic, mime in _MAGIC if data.startswith(magic)), "application/octet-stream")
        size = f'width="{image.width}" height="{image.height}"'
        link = f"data:{mime};base64,{base64.b64encode(data).decode()}"
        shapes = [f'<image href="{link}" {size}/>']
        for boxes, style in (
            (self.example.reference.boxes, f'stroke="{_TRUE}"'),
            (self.completion.boxes, f'stroke="{_PREDICTED}" stroke-dasharray="4 2"'),
        ):
            shapes += _rectangles(boxes, image, index, style)
        view = f'viewBox="0 0 {image.width} {image.height}"'
        return f'<svg {view} width="384" style="image-rendering:pixelated">{"".join(shapes)}</svg>'


def _rectangles(boxes: Boxes | None, image: ImageRef, index: int, style: str) -> Iterator[str]:
    """The boxes of one image as SVG; an inverted one cannot be drawn and is only counted."""
    if boxes is None:
        return
    where = boxes.image or (0,) * len(boxes)
    for own, (x1, y1, x2, y2) in zip(where, boxes.to(pixel(image.width, image.height)).xyxy.tolist(), strict=True):
        if own == index and x2 > x1 and y2 > y1:
            shape = f'x="{x1:.2f}" y="{y1:.2f}" width="{x2 - x1:.2f}" height="{y2 - y1:.2f}"'
            yield f'<rect {shape} fill="none" vector-effect="non-scaling-stroke" stroke-width="2" {style}/>'


def _tree(name: str, score: Score, indent: str) -> Iterator[str]:
    value = score.status if score.value is None else f"{score.value:.3f}"
    detail = "  ".join(f"{key}: {_short(_shown(own))}" for key, own in score.detail.items())
    yield f"{indent}{name:<{max(1, 30 - len(indent))}} {value:>8}  {detail}".rstrip()
    for part, own in score.parts.items():
        yield from _tree(part, own, indent + "  ")


def _shown(value: object) -> str:
    """Text as it is, pairs and other numbers rounded."""
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(_shown, value)) + ")"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _count(boxes: Boxes | None) -> str:
    return "none readable" if boxes is None else str(len(boxes))


def _short(text: str, limit: int = 300) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= limit else f"{line[: limit // 2]} ... {line[-limit // 2 :]}"
