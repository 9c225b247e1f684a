"""Boxes in pixels of the image as the model sees it, as Qwen2.5-VL writes them; they follow the resolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from groundrl.experiments.data.formats.box_rewrite import boxes_in, with_corners
from groundrl.rewards import BoxSpace, DataError, Example, ExampleSource
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.resolution import seen_space


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


def rewritten(answer: str, before: BoxSpace, after: BoxSpace) -> str:
    """The answer with its boxes in another space, in whole numbers; everything else stays as it is."""
    boxes = boxes_in(answer, before)
    return answer if boxes is None else with_corners(answer, np.rint(boxes.to(after).xyxy).astype(np.int64))
