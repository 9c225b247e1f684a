"""Boxes as the model writes them: in pixels of the image as it sees it, or in the format of its family."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from groundrl.experiments.data.formats.box_rewrite import boxes_in, with_corners
from groundrl.rewards import Boxes, BoxSpace, DataError, Example, ExampleSource
from groundrl.rewards.audit.writing import take_apart
from groundrl.rewards.boxes.formats import BoxFormat, box_format
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.resolution import seen_space

_FENCE = re.compile(r"\s*+```(?:json)?+\s*+\Z")


def as_the_model_writes(source: ExampleSource, policy: Policy, boxes: str) -> ExampleSource:
    """The examples under `model.boxes`: `as_data`, `seen_pixels`, or the name of a box format."""
    if boxes == "as_data":
        return source
    return SeenPixels(source, policy) if boxes == "seen_pixels" else InFormat(source, policy, box_format(boxes))


class SeenPixels:
    """The same examples with the boxes of their gold answers, and those that the model is to write, in seen pixels."""

    def __init__(self, source: ExampleSource, policy: Policy) -> None:
        self.source = source
        self.policy = policy

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        example = self.source[index]
        if not example.images:
            return example
        space = seen_space(self.policy, example)
        answer = example.answer
        if answer is not None:
            try:
                answer = rewritten(answer, example.box_space, space)
            except ValueError as error:
                raise DataError(f"example {example.id!r}: {error}, so that they cannot follow the resolution") from None
        return replace(example, answer=answer, box_space=space)


class InFormat:
    """The same examples with gold answers in a format, which is also what parser and rewards expect of the model."""

    def __init__(self, source: ExampleSource, policy: Policy, format: BoxFormat) -> None:
        self.source = source
        self.policy = policy
        self.format = format

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        example = self.source[index]
        if not example.images:
            return example
        seen = seen_space(self.policy, example) if self.format.space is None else None
        return in_format(example, self.format, seen)


def in_format(example: Example, format: BoxFormat, seen: BoxSpace | None = None) -> Example:
    """The example with the boxes of its gold answer in this format; the words around them stay.

    A format that states a label for each box takes those of the answer, else those of the reference. `seen` is the
    space of the image as the model sees it. DataError for boxes that cannot be read.
    """
    declared = format.declared(seen)
    answer, truth = example.answer, example.reference.boxes
    if answer is not None and truth is not None:
        draft = take_apart(answer, boxes=True, default=None, format=example.box_space.format)
        if draft.boxes is None:
            raise DataError(f"example {example.id!r}: the boxes of {answer[-80:]!r} cannot be written as {format.name}")
        boxes = Boxes(xyxy=draft.boxes, space=example.box_space)
        labels = draft.labels
        if labels is None and truth.labels is not None and len(truth.labels) == len(boxes):
            labels = truth.labels
        lead, trail = _FENCE.sub(" ", draft.lead), draft.trail.replace("\n```", "")
        answer = f"{draft.head}{lead}{format.gold(boxes, labels, space=seen)}{trail}{draft.tail}"
    return replace(example, answer=answer, box_space=declared)


def rewritten(answer: str, before: BoxSpace, after: BoxSpace) -> str:
    """The answer with its boxes in another space, in whole numbers; everything else stays as it is."""
    boxes = boxes_in(answer, before)
    return answer if boxes is None else with_corners(answer, np.rint(boxes.to(after).xyxy).astype(np.int64))
