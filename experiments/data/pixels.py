"""Boxes in pixels of the image as the model sees it, as Qwen2.5-VL writes them; they follow the resolution."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from groundrl.rewards import DataError, Example, ExampleSource, parse_boxes
from groundrl.rewards.glossary import BoxSpace
from groundrl.rollout.policy import Policy
from groundrl.rollout.resolution import seen_space

_NUMBER = r"\s*-?[0-9][0-9.eE+-]*\s*"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]|\({_NUMBER},{_NUMBER}\)\s*,\s*\({_NUMBER},{_NUMBER}\)")


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
        answer = example.answer and rewritten(example.answer, example.box_space, space, example.id)
        return replace(example, answer=answer, box_space=space)


def rewritten(answer: str, before: BoxSpace, after: BoxSpace, id: str) -> str:
    """The answer with the numbers of its boxes in another space, rounded; everything else stays as it is."""
    parsed = parse_boxes(answer)
    if not parsed.spans:
        return answer
    scale = (after.width / before.width, after.height / before.height) * 2
    boxes: Iterator[tuple[float, ...]] = iter(parsed.xyxy)

    def written(found: re.Match[str]) -> str:
        numbers = iter(str(round(x * by)) for x, by in zip(next(boxes, ()), scale, strict=True))
        return re.sub(_NUMBER.replace(r"\s*", ""), lambda _: next(numbers), found.group())

    pieces, end = [], 0
    for start, stop in parsed.spans:
        pieces += [answer[end:start], _BOX.sub(written, answer[start:stop])]
        end = stop
    if parsed.status != "ok" or next(boxes, None) is not None:
        raise DataError(f"example {id!r}: the boxes of its answer cannot be rewritten in pixels ({parsed.status})")
    return "".join([*pieces, answer[end:]])
