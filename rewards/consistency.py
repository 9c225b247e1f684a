"""A reward for an answer that agrees with itself: the number it states and the labels it names against its boxes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from groundrl.rewards.glossary import Completion, Example, Score
from groundrl.rewards.labels import normalised
from groundrl.rewards.reward import Reward

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNT = re.compile(r"\b(?:[0-9]{1,9}+|" + "|".join(_WORDS) + r")\b")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Consistency(Reward):
    """1 where the only number that the label states is that of the boxes, and every box's label is named in it; else 0.

    It needs no truth, so it is for a sum with rewards that have one: a consistent lie scores 1.
    """

    name = "consistency"

    def score(self, completion: Completion, example: Example) -> Score:
        """0 or 1, with the stated and the counted number in `detail`."""
        boxes, label = completion.boxes, normalised(completion.label or "")
        if boxes is None:
            return Score(value=0.0, detail={"reason": f"boxes: {completion.parsed_boxes.status}"})
        stated = {int(word) if word.isdigit() else _WORDS.index(word) for word in _COUNT.findall(label)}
        unnamed = sorted({own for own in boxes.labels or () if normalised(own) not in label})
        agrees = stated == {len(boxes)} and not unnamed
        return Score(value=float(agrees), detail={"stated": sorted(stated), "boxes": len(boxes), "unnamed": unnamed})
