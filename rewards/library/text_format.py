"""Rewards for the form of an answer: that it parses, its tags, a pattern, a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward, unreadable
from groundrl.rewards.library.json_schema import check_schema, violation
from groundrl.rewards.library.regex import compiled, readable


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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TagCount(Reward):
    """The share of the opening and closing tags that occur exactly once: 0.25 for each of four (open-r1)."""

    name = "tag_count"
    tags: tuple[str, ...] = ("think", "answer")

    def score(self, completion: Completion, example: Example) -> Score:
        """In [0, 1]; `detail` counts each tag."""
        marks = [mark for tag in self.tags for mark in (f"<{tag}>", f"</{tag}>")]
        counts = {mark: completion.text.count(mark) for mark in marks}
        return Score(value=sum(count == 1 for count in counts.values()) / len(marks), detail=counts)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Pattern(Reward):
    r"""1 where the whole text matches a regular expression, else 0; in time linear in the text, whatever the pattern.

    RE2's syntax, with `.` for any character; `\d \w \s` are ASCII. ValueError for what needs backtracking.
    """

    name = "pattern"
    pattern: str

    def __post_init__(self) -> None:
        compiled(self.pattern, dot_matches_newline=True)

    def score(self, completion: Completion, example: Example) -> Score:
        """0 or 1."""
        regex = compiled(self.pattern, dot_matches_newline=True)
        return Score(value=float(regex.fullmatch(readable(completion.text)) is not None))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class JsonSchema(Reward):
    """1 where the answer is JSON of this schema (draft 2020-12), else 0 with the first violation in `detail`.

    ValueError for a keyword that the draft does not have, and for `format` and `patternProperties`.
    """

    name = "json_schema"
    schema: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_schema(self.schema)

    def score(self, completion: Completion, example: Example) -> Score:
        """0 or 1."""
        if completion.answer is None:
            return Score(value=0.0, detail={"reason": f"answer: {completion.parsed.status}"})
        try:
            reason = violation(json.loads(completion.answer, parse_constant=_no_constant), self.schema)
        except (ValueError, OverflowError, RecursionError) as problem:  # not JSON; a huge number; nested thousands deep
            reason = f"not JSON: {problem}"
        return Score(value=1.0) if reason is None else Score(value=0.0, detail={"reason": reason})


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
