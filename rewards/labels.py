"""Rewards for what an answer says in words. The label of an answer is its text without the boxes."""

from __future__ import annotations

from dataclasses import dataclass

from groundrl.rewards.glossary import Completion, Example, Score
from groundrl.rewards.reward import Reward, unreadable

_EDGES = " \t\n.,;:!?\"'`*"


def normalised(text: str) -> str:
    """Casefolded, runs of white space made one space, punctuation at both ends removed."""
    return " ".join(text.casefold().split()).strip(_EDGES)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelAccuracy(Reward):
    """1 where the answer's label is `reference.label`, else 0; compared by `normalised`.

    An answer that cannot be read as a whole (boxes included, where the reference has them) scores 0.
    """

    name = "label_accuracy"

    def score(self, completion: Completion, example: Example) -> Score:
        """0 or 1; abstains without a reference label."""
        truth = example.reference.label
        if truth is None:
            return Score(value=None, status="abstain", detail={"reason": "the reference has no label"})
        if (reason := unreadable(completion, example)) is not None:
            return Score(value=0.0, detail={"reason": reason})
        label = completion.label or ""
        return Score(value=float(normalised(label) == normalised(truth)), detail={"label": label})
