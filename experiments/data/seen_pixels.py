"""Boxes as the model writes them: in pixels of the image as it sees it, or in the format of its family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from groundrl.experiments.data.formats.stated_boxes import boxes_in, has_marks
from groundrl.rewards import Boxes, BoxFormat, BoxSpace, DataError, Example, ExampleSource, box_format
from groundrl.rewards.boxes import drafts
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.resolution import seen_space

# What stands around boxes and belongs to the old format: a code fence, GLM's tags.
_OPENED = re.compile(r"\s*+(?:```(?:json)?+|<\|begin_of_box\|>)\s*+\Z")
_CLOSED = re.compile(r"\A\s*+(?:```|<\|end_of_box\|>)")


def as_the_model_writes(source: ExampleSource, policy: Policy | None, boxes: str) -> ExampleSource:
    """The examples under `model.boxes`: `as_data`, `seen_pixels`, or the name of a box format.

    `policy` says how large an image is when the model sees it. ValueError where that is needed and there is none.
    """
    if boxes == "as_data":
        return source
    if policy is None and in_seen_pixels(boxes):
        raise ValueError(f"boxes: {boxes} are pixels of the image as the model sees it, which only a local model says")
    return SeenPixels(source, policy) if boxes == "seen_pixels" else InFormat(source, policy, box_format(boxes))


def in_seen_pixels(boxes: str) -> bool:
    """Whether boxes under this `model.boxes` depend on how large an image is when the model sees it."""
    return boxes == "seen_pixels" or (boxes != "as_data" and box_format(boxes).space is None)


class SeenPixels:
    """The same examples with the boxes of their gold answers, and those that the model is to write, in seen pixels."""

    def __init__(self, source: ExampleSource, policy: Policy | None) -> None:
        self.source = source
        self.policy = policy

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        example = self.source[index]
        if not example.images:
            return example
        assert self.policy is not None
        space = replace(seen_space(self.policy, example), format=example.box_space.format)
        answer = example.answer
        if answer is not None:
            try:
                answer = rewritten(answer, example.box_space, space)
            except ValueError as error:
                raise DataError(f"example {example.id!r}: {error}, so that they cannot follow the resolution") from None
        return replace(with_prompt(example, space), answer=answer, box_space=space)


class InFormat:
    """The same examples with gold answers in a format, which is also what parser and rewards expect of the model."""

    def __init__(self, source: ExampleSource, policy: Policy | None, format: BoxFormat) -> None:
        self.source = source
        self.policy = policy
        self.format = format

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        example = self.source[index]
        if not example.images:
            return example
        seen = None
        if self.format.space is None:
            assert self.policy is not None
            seen = seen_space(self.policy, example)
        return in_format(example, self.format, seen)


def in_format(example: Example, format: BoxFormat, seen: BoxSpace | None = None) -> Example:
    """The example with the boxes of its gold answer in this format; the words around them stay.

    A format that states a label for each box takes those of the answer, else those of the reference. `seen` is the
    space of the image as the model sees it. DataError for boxes that cannot be read.
    """
    declared = format.declared(seen)
    answer, truth = example.answer, example.reference.boxes
    if answer is not None and truth is not None:
        draft = drafts.take_apart(answer, boxes=True, default=None, format=example.box_space.format)
        if draft.boxes is None:
            raise DataError(f"example {example.id!r}: the boxes of {answer[-80:]!r} cannot be written as {format.name}")
        boxes = Boxes(xyxy=draft.boxes, space=example.box_space)
        labels = draft.labels
        if labels is None and truth.labels is not None and len(truth.labels) == len(boxes):
            labels = truth.labels
        lead, trail = _OPENED.sub(" ", draft.lead), _CLOSED.sub("", draft.trail)
        answer = f"{draft.head}{lead}{format.gold(boxes, labels, space=seen)}{trail}{draft.tail}"
    return replace(with_prompt(example, declared, format), answer=answer, box_space=declared)


def with_prompt(example: Example, space: BoxSpace, format: BoxFormat | None = None) -> Example:
    """The example with what its prompt asks for, and the boxes that it states, in this space and format.

    What cannot be read as boxes, such as a form that a prompt asks for in its own words, stays as it is.
    """

    def boxed(text: str) -> str:
        if not has_marks(text) and example.reference.boxes is None:
            return text
        try:
            return rewritten(text, example.box_space, space, into=format)
        except ValueError:
            return text

    def follow(text: str) -> str:
        asked = box_format(example.box_space.format).asked
        return (format.asked if format is not None else asked).join(map(boxed, text.split(asked)))

    def told(content: object) -> object:
        if isinstance(content, str):
            return follow(content)
        parts = content if isinstance(content, Sequence) else ()
        return [{**part, "text": follow(part["text"])} if "text" in part else part for part in parts]

    if example.messages is None:
        return replace(example, prompt=follow(example.prompt or ""))
    turns = tuple({**turn, "content": told(turn.get("content"))} for turn in example.messages)
    return replace(example, messages=turns)


def rewritten(text: str, before: BoxSpace, after: BoxSpace, *, into: BoxFormat | None = None) -> str:
    """The text with its boxes in another space, and written `into` a format; everything else stays as it is."""
    boxes = boxes_in(text, before)
    if boxes is None:
        return text
    xyxy = np.rint(boxes.to(after).xyxy) if into is None else into.rounded(boxes, space=after)
    return drafts.rewritten(text, xyxy, format=before.format, into=into)
