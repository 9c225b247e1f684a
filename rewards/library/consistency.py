"""A reward for an answer that agrees with itself: the number it states and the labels it names against its boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from groundrl.rewards.boxes.spaces import Boxes
from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.lazy import lazy
from groundrl.rewards.core.reward import Reward
from groundrl.rewards.factuality.facts import Reading, read_facts
from groundrl.rewards.factuality.lexicon import Lexicon, LexiconSource, compiled, merged_text
from groundrl.rewards.factuality.reading import answer_text, rules
from groundrl.rewards.factuality.scopes import ABSENT, PRESENT
from groundrl.rewards.library.labels import normalised

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNT = re.compile(r"\b(?:[0-9]{1,9}+|" + "|".join(_WORDS) + r")\b")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Consistency(Reward):
    """1 where what the answer says in words is what its boxes show; else 0.

    Without `findings`: the only number that the label states is that of the boxes, and every box's label is named in
    it. With `findings`, the concepts for which the task asks boxes (`("nucleus",)`), the text is read as a report: a
    finding that it states as present has a box of its label and the other way round, a number that it states of a
    finding is that of its boxes, and no box has another label. Boxes without labels are those of the only finding. Only
    findings stated as present need boxes: one that is uncertain may have some or none. `lexicon` is that of
    `Factuality`.

    It needs no truth, so it is for a sum with rewards that have one: a consistent lie scores 1.
    """

    name = "consistency"
    findings: tuple[str, ...] = ()
    lexicon: LexiconSource = None

    def __post_init__(self) -> None:
        if isinstance(self.findings, str):
            raise ValueError(f"Consistency's findings are a tuple of concepts, such as ({self.findings!r},)")
        if not self.findings:
            return
        known = compiled(self._words).concepts
        if unknown := [each for each in self.findings if each not in known]:
            raise ValueError(f"Consistency does not know the finding {unknown[0]!r}; add it to a lexicon's `concepts`")

    @lazy
    def _words(self) -> str:
        return merged_text(self.lexicon)

    def behind(self) -> Iterator[bytes]:
        """Where it reads reports: the words, and the source of the rules."""
        return rules(self._words) if self.findings else iter(())

    def score(self, completion: Completion, example: Example) -> Score:
        """0 or 1, with the stated and the counted numbers in `detail`."""
        if completion.boxes is None:
            return Score(value=0.0, detail={"reason": f"boxes: {completion.parsed_boxes.reason}"})
        if self.findings:
            return self._score_report(completion, completion.boxes)
        boxes, label = completion.boxes, normalised(completion.label or "")
        stated = {int(word) if word.isdigit() else _WORDS.index(word) for word in _COUNT.findall(label)}
        unnamed = sorted({own for own in boxes.labels or () if normalised(own) not in label})
        agrees = stated == {len(boxes)} and not unnamed
        return Score(value=float(agrees), detail={"stated": sorted(stated), "boxes": len(boxes), "unnamed": unnamed})

    def _score_report(self, completion: Completion, boxes: Boxes) -> Score:
        if boxes.labels is None and len(boxes) and len(self.findings) > 1:
            return Score(value=0.0, detail={"reason": "boxes: without labels, though there are several findings"})
        lexicon = compiled(self._words)
        shown = _shown(boxes, self.findings, lexicon)
        reading = read_facts(answer_text(completion), lexicon)
        wrong = [f"box labelled {label}" for label in sorted(set(shown) - set(self.findings))]
        for finding in self.findings:
            polarities, number = _stated(reading, finding)
            found = shown.get(finding, 0)
            if (PRESENT in polarities and not found) or (found and not polarities - {ABSENT}):
                wrong.append(f"{finding} {'present' if PRESENT in polarities else 'not stated'}, {found} boxes")
            elif number is not None and number != found:
                wrong.append(f"{number} {finding}, {found} boxes")
        return Score(value=float(not wrong), detail={"wrong": wrong, "boxes": dict(shown)})


def _shown(boxes: Boxes, findings: tuple[str, ...], lexicon: Lexicon) -> Mapping[str, int]:
    """How many boxes there are of each finding; a label is read as a report is, so a synonym or a plural will do."""
    if boxes.labels is None:
        return {findings[0]: len(boxes)} if len(boxes) else {}
    shown: dict[str, int] = {}
    for label in boxes.labels:
        named = {mention.fact.concept for mention in read_facts(label, lexicon).mentions}
        one = named.pop() if len(named) == 1 else normalised(label)
        shown[one] = shown.get(one, 0) + 1
    return shown


def _stated(reading: Reading, finding: str) -> tuple[set[str], int | None]:
    """What a text says of a finding, and the largest number that it gives."""
    said = [mention for mention in reading.mentions if mention.fact.concept == finding]
    numbers = [mention.number for mention in said if mention.number is not None]
    return {mention.fact.polarity for mention in said}, max(numbers, default=None)
