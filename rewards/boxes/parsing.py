"""Answers, and the boxes and the label in them: what a completion says, or the status that tells why not."""

from __future__ import annotations

from dataclasses import dataclass

from groundrl.rewards.boxes.formats import FORMATS, REFS, box_format
from groundrl.rewards.boxes.reading import ParsedBoxes, ParseStatus, Span

_AROUND = (*(mark for pair in REFS for mark in pair), "<|begin_of_box|>", "<|end_of_box|>", "<|grounding|>")
_FENCES = ("```json", "```")
_ENDS = ("<|im_end|>", "<|endoftext|>", "<|end|>", "<|eot_id|>", "<end_of_turn>", "<eos>", "</s>")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedAnswer:
    """The final answer: its `text` (None unless `status` is `ok`) and where it stands in the completion."""

    text: str | None
    status: ParseStatus
    span: Span = (0, 0)


def parse_answer(text: str) -> ParsedAnswer:
    """The answer in a completion: what follows the last `</think>`, and the inside of the only `<answer>` pair.

    Several pairs are `ambiguous`, an unclosed `<think>` or `<answer>` is `truncated`, nothing left is `no_answer`.
    """
    start = text.rfind("</think>")
    start = 0 if start < 0 else start + len("</think>")
    if text.find("<think>", start) >= 0:
        return ParsedAnswer(text=None, status="truncated")
    opened, closed = text.count("<answer>", start), text.count("</answer>", start)
    end = len(text)
    if opened or closed:
        first = text.rfind("<answer>", start) + len("<answer>")
        last = text.find("</answer>", first)
        if opened != 1 or closed > 1:
            return ParsedAnswer(text=None, status="ambiguous")
        if last < 0:
            return ParsedAnswer(text=None, status="truncated" if not closed else "ambiguous")
        start, end = first, last
    answer = text[start:end]
    if not answer or answer.isspace():
        return ParsedAnswer(text=None, status="no_answer")
    return ParsedAnswer(text=answer, status="ok", span=(start, end))


def parse_boxes(answer: str, *, format: str = "medmo") -> ParsedBoxes:
    """The boxes of an answer as `x1, y1, x2, y2`, whatever their order in the text.

    `format` is the declared one, a name in `formats.FORMATS`. Those that write x first in a space that no mark shows
    are read alike: any number of `<box>[[..], ..]</box>` (or `<box>[a, b, c, d]</box>`, `<box>(x1,y1),(x2,y2)</box>`,
    `<box>[]</box>` for none); one bare `[[..], ..]`, `[a, b, c, d]` or `[]`; any number of `(x1,y1),(x2,y2)`, bare or
    in `<|box_start|>..<|box_end|>`; one JSON list or object with `bbox_2d` (with `label`, `score`, `image`). Two forms
    at once, or two bare lists, are `ambiguous`. Zero-padded numbers are legal outside JSON. Where the order or the
    space is another, only the declared format is read: anything else is an `undeclared_format`, and `seen` names it.
    """
    return (FORMATS.get(format) or box_format(format)).read(answer)


def parse_label(answer: str, boxes: ParsedBoxes | None = None) -> str:
    """The label of an answer: the words around its boxes, else the labels that the boxes state, each once.

    Marks around a label (`<ref>`, `<|ref|>`, `<|begin_of_box|>`, a code fence around boxes) and end tokens at the end
    are no part of it; empty where nothing is left. `boxes` are those of this answer, if they are parsed already.
    """
    boxes = parse_boxes(answer) if boxes is None else boxes
    return words_around(answer, boxes) or ", ".join(dict.fromkeys(boxes.labels or ()))


def words_around(answer: str, boxes: ParsedBoxes) -> str:
    """An answer's text without its boxes and without the marks of any format."""
    words, previous = "", 0
    for start, stop in boxes.spans:
        words += answer[previous:start].strip() + " "
        previous = stop
    words += answer[previous:].strip()
    if "<" in words:
        words = words.rstrip()
        while (end := next((end for end in _ENDS if words.endswith(end)), None)) is not None:
            words = words.removesuffix(end).rstrip()
        for mark in _AROUND:
            words = words.replace(mark, "")
    for fence in _FENCES if boxes.spans and "```" in words else ():
        words = words.replace(fence, "")
    return words.strip()
