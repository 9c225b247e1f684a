"""Stretches of a text marked for a person: a line of signs under each line of text, or `<mark>` in HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from groundrl.rewards.core.glossary import Score

_SIGNS: Mapping[str, str] = {
    "true_positives": "+",
    "false_positives": "-",
    "contradictions": "!",
    "inconsistencies": "~",
    "misses": "?",
}
_WIDTH, _LONGEST = 100, 4_000
STYLE = (
    "<style>mark.true_positives{background:#c7efcf}mark.false_positives{background:#fde2c4}"
    "mark.contradictions{background:#f7b5b5}mark.inconsistencies{background:#e3ccf5}mark.misses{background:#dfe3ea}</style>"
)


class Mark(NamedTuple):
    """Characters `[start, end)` of a text, and for which part of a score they are marked."""

    start: int
    end: int
    part: str


def marks(score: Score, key: str = "spans") -> list[Mark]:
    """The stretches that the parts of a score, however deep, name under `key` in their detail, in order.

    Where one stretch has several marks the worst is kept: a contradiction is a false positive too.
    """
    order = list(_SIGNS)
    found: dict[tuple[int, int], str] = {}
    for part, start, end in _named("", score, key):
        old = found.get((start, end))
        if old is None or order.index(part) > order.index(old):
            found[start, end] = part
    kept: list[Mark] = []
    for (start, end), part in sorted(found.items()):
        if not kept or start >= kept[-1].end:  # one within another is not drawn
            kept.append(Mark(start, end, part))
    return kept


def _named(part: str, score: Score, key: str) -> Iterator[tuple[str, int, int]]:
    spans = score.detail.get(key, ())
    if part in _SIGNS and isinstance(spans, Sequence):
        yield from ((part, start, end) for start, end in spans)
    for name, own in score.parts.items():
        yield from _named(name, own, key)


def marked_lines(text: str, found: Sequence[Mark]) -> Iterator[str]:
    """The text in lines of 100 characters, each with a line of signs under it where something is marked."""
    signs = [" "] * len(text)
    for mark in found:
        signs[mark.start : mark.end] = _SIGNS[mark.part] * (mark.end - mark.start)
    shown = "".join(each if each.isprintable() else " " for each in text)[:_LONGEST]
    index = 0
    for line in textwrap.wrap(shown, _WIDTH, drop_whitespace=False, break_on_hyphens=False) or [""]:
        under = "".join(signs[index : index + len(line)]).rstrip()
        yield line.rstrip()
        if under:
            yield under
        index += len(line)
    if len(text) > _LONGEST:
        yield f"... ({len(text) - _LONGEST} more characters)"


def legend(found: Sequence[Mark]) -> str:
    """The signs that were used and what they mean."""
    used = {mark.part for mark in found}
    return "  ".join(f"{sign} {part.replace('_', ' ')}" for part, sign in _SIGNS.items() if part in used)


def marked_html(text: str, found: Sequence[Mark]) -> str:
    """The text, escaped, with `<mark class="contradictions">` and so on."""
    pieces: list[str] = []
    index = 0
    for start, end, part in found:
        inner = f'<mark class="{part}" title="{part.replace("_", " ")}">{escape(text[start:end])}</mark>'
        pieces += [escape(text[index:start]), inner]
        index = end
    return f'<p style="white-space:pre-wrap">{"".join(pieces)}{escape(text[index:])}</p>'
