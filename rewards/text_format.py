"""Rewards for the form of an answer: that it parses, that its tags stand where they should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundrl.rewards.glossary import Completion, Example, Score
from groundrl.rewards.reward import Reward, unreadable


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Format(Reward):
    """1 where the answer parses, has a label and, where the reference has boxes, well-formed boxes; else 0.

    With `tags=("think", "answer")` the whole text must also be exactly those pairs, one after the other, each once.
    """

    name = "format"
    tags: tuple[str, ...] = ()

    def score(self, completion: Completion, example: Example) -> Score:
        """0 or 1, with the reason for a 0 in `detail`."""
        reason = unreadable(completion, example)
        if reason is None and not completion.label:
            reason = "no label"
        if reason is None and self.tags:
            reason = misplaced(completion.text, self.tags)
        return Score(value=1.0) if reason is None else Score(value=0.0, detail={"reason": reason})


def misplaced(text: str, tags: Sequence[str]) -> str | None:
    """What keeps a text from being exactly these tag pairs in order, each once, or None."""
    end = 0
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        if text.count(opening) != 1 or text.count(closing) != 1:
            return f"not exactly one pair of {opening}"
        start = text.find(opening, end)
        if start < 0 or text[end:start].strip():
            return f"text before {opening}, or tags out of order"
        end = text.find(closing, start)
        if end < 0:
            return f"{closing} before {opening}"
        end += len(closing)
    return "text after the last tag" if text[end:].strip() else None
