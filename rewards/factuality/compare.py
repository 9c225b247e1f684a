"""How far the facts of a text agree with those of a reference: what matches, what is extra, missing or contradicted.

Weights. A present or uncertain finding weighs 1. *Quiet* facts (absent findings, and statements of normality) weigh
`absent_weight` each, together at most `absent_weight` times the findings of the reference; and what they earn is at
most `absent_weight` times what the findings earned, so that listing normals earns nothing where there is something to
find. A quiet fact that the reference does not mention is neutral, and so is what a fact of the reference implies.

Credit of a matched pair, a product: polarity (1 if the same; `HEDGED` where one of the two is uncertain and the other
present), side (`PART` if the reference states one and the text none or only part of it; 0 if they have none in common),
place (`PLACE` if the reference states one and the text none or another), count (`PART` if the reference states one and
the text none; `PART * smaller / larger` if they differ).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from groundrl.rewards.factuality.facts import Fact, Reading, Span
from groundrl.rewards.factuality.lexicon import Lexicon
from groundrl.rewards.factuality.scopes import ABSENT, PRESENT, UNCERTAIN

HEDGED, PART, PLACE = 0.5, 0.5, 0.8
_AXES = (frozenset({"left", "right"}), frozenset({"top", "bottom"}))


class Stated(NamedTuple):
    """Where a text first states a fact, and the largest number that it gives of it anywhere."""

    span: Span
    number: int | None = None


FactSet: TypeAlias = Mapping[Fact, Stated]


class Match(NamedTuple):
    """A fact of the text, that of the reference, and what the match earns in [0, 1]."""

    said: Fact
    true: Fact
    credit: float


class Contradiction(NamedTuple):
    """A fact of the text and the fact of the reference that it cannot go with; `kind`: polarity, side or exclusive."""

    said: Fact
    true: Fact
    kind: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of comparing; precision, recall and F1 are in [0, 1]; `weight` is that of the whole reference."""

    matches: tuple[Match, ...]
    false_positives: tuple[Fact, ...]
    misses: tuple[Fact, ...]
    contradictions: tuple[Contradiction, ...]
    precision: float
    recall: float
    weight: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def fact_set(reading: Reading, lexicon: Lexicon) -> FactSet:
    """The facts of a text as a set; a vaguer repetition ("the effusion is small") adds no fact to "left effusion"."""
    facts: dict[Fact, Stated] = {}
    for mention in reading.mentions:
        span, number = facts.get(mention.fact, Stated(mention.span))
        if number is None or (mention.number or 0) > number:
            number = mention.number
        facts[mention.fact] = Stated(span, number)
    by_concept: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        by_concept.setdefault(fact[:2], []).append(fact)
    vague = {
        fact
        for alike in by_concept.values()
        if len(alike) > 1
        for fact in alike
        if fact.polarity != ABSENT and facts[fact].number is None and not (fact.laterality and fact.anatomy)
        if any(_says_more(other, fact, lexicon) for other in alike)
    }
    return {fact: stated for fact, stated in facts.items() if fact not in vague}


def _says_more(fact: Fact, than: Fact, lexicon: Lexicon) -> bool:
    if fact == than or not than.laterality <= fact.laterality:
        return False
    return than.anatomy is None or (fact.anatomy is not None and lexicon.lies_in(fact.anatomy, than.anatomy))


def compare(said: FactSet, true: FactSet, lexicon: Lexicon, *, absent_weight: float) -> Comparison:
    """Compare the facts of a text with those of a reference that has some."""
    weights = _weights(true, lexicon, absent_weight)
    matches = _matched(said, true, lexicon)
    matched, found = {match.said for match in matches}, {match.true for match in matches}
    contradictions = tuple(_contradictions(said, true, matched, found, lexicon))
    contradicting = {each.said for each in contradictions}
    implied = {other for fact in true if fact.polarity != ABSENT for other in lexicon.implied.get(fact.concept, ())}
    false_positives = tuple(
        fact
        for fact in said
        if fact not in matched and (fact in contradicting or not (quiet(fact, lexicon) or fact.concept in implied))
    )
    findings = sum(match.credit * weights[match.true] for match in matches if not quiet(match.true, lexicon))
    normals = sum(match.credit * weights[match.true] for match in matches if quiet(match.true, lexicon))
    total = sum(weights.values())
    if any(not quiet(fact, lexicon) for fact in true):
        normals = min(normals, absent_weight * findings)
    claimed = sum(weights[match.true] for match in matches) + len(false_positives)
    return Comparison(
        matches=tuple(matches),
        false_positives=false_positives,
        misses=tuple(fact for fact in true if fact not in found),
        contradictions=contradictions,
        precision=(findings + normals) / claimed if claimed else 0.0,
        recall=(findings + normals) / total,
        weight=total,
    )


def quiet(fact: Fact, lexicon: Lexicon) -> bool:
    """Whether a fact says that there is nothing: an absent finding, or a statement of normality."""
    return fact.polarity == ABSENT or lexicon.concepts[fact.concept].kind == "normal"


def _weights(true: FactSet, lexicon: Lexicon, absent_weight: float) -> dict[Fact, float]:
    silent = [fact for fact in true if quiet(fact, lexicon)]
    findings = len(true) - len(silent)
    each = absent_weight * (min(1.0, findings / len(silent)) if findings and silent else 1.0)
    return {**dict.fromkeys(true, 1.0), **dict.fromkeys(silent, each)}


def order(fact: Fact) -> tuple[str, str, tuple[str, ...], str]:
    """An order of facts that does not depend on where they stand."""
    return fact.concept, fact.polarity, tuple(sorted(fact.laterality)), fact.anatomy or ""


def _matched(said: FactSet, true: FactSet, lexicon: Lexicon) -> list[Match]:
    """Pairs of one fact each, the best first."""
    by_concept: dict[str, list[Fact]] = {}
    for fact in said:
        by_concept.setdefault(fact.concept, []).append(fact)
    pairs = [
        Match(mine, fact, credit)
        for fact in true
        for mine in by_concept.get(fact.concept, ())
        if (credit := _credit(mine, said[mine].number, fact, true[fact].number, lexicon)) > 0
    ]
    if len(pairs) > 1:
        pairs.sort(key=lambda pair: (-pair.credit, order(pair.said), order(pair.true)))
    chosen: list[Match] = []
    used: set[Fact] = set()
    found: set[Fact] = set()
    for pair in pairs:
        if pair.said not in used and pair.true not in found:
            chosen.append(pair)
            used.add(pair.said)
            found.add(pair.true)
    return chosen


def _credit(mine: Fact, count: int | None, fact: Fact, true_count: int | None, lexicon: Lexicon) -> float:
    credit = 1.0
    if mine.polarity != fact.polarity:
        if {mine.polarity, fact.polarity} != {PRESENT, UNCERTAIN}:
            return 0.0
        credit = HEDGED
    if fact.laterality and mine.laterality != fact.laterality:
        if mine.laterality and not mine.laterality & fact.laterality:
            return 0.0
        credit *= PART
    if fact.anatomy and fact.anatomy != mine.anatomy:
        credit *= 1.0 if mine.anatomy and lexicon.lies_in(mine.anatomy, fact.anatomy) else PLACE
    if true_count is not None and count != true_count:
        credit *= PART if count is None else PART * min(count, true_count) / max(count, true_count)
    return credit


def _contradictions(
    said: FactSet, true: FactSet, matched: set[Fact], found: set[Fact], lexicon: Lexicon
) -> Iterable[Contradiction]:
    """At most one for each fact of the text; what the reference states itself contradicts nothing."""
    by_concept: dict[str, list[Fact]] = {}
    for fact in true:
        by_concept.setdefault(fact.concept, []).append(fact)
        for concept in lexicon.implied.get(fact.concept, ()) if fact.polarity == PRESENT else ():
            by_concept.setdefault(concept, []).append(fact._replace(concept=concept))
    for mine in said:
        if mine in true or mine.polarity == UNCERTAIN:
            continue
        for fact in by_concept.get(mine.concept, ()):
            opposite = {mine.polarity, fact.polarity} == {PRESENT, ABSENT} and compatible(mine, fact)
            if opposite and (mine.polarity == ABSENT or mine not in matched):
                yield Contradiction(mine, fact, "polarity")
                break
            unmatched = mine.polarity == fact.polarity == PRESENT and mine not in matched and fact not in found
            if unmatched and flipped(mine.laterality, fact.laterality):
                yield Contradiction(mine, fact, "side")
                break
        else:
            if mine.polarity == PRESENT and (excluded := lexicon.exclusive.get(mine.concept)):
                clash = [fact for fact in true if fact.polarity == PRESENT and fact.concept in excluded]
                if clash:
                    yield Contradiction(mine, min(clash, key=order), "exclusive")


def compatible(first: Fact, second: Fact) -> bool:
    """Whether two facts can be of one place: a side that is not stated goes with any."""
    sides = not first.laterality or not second.laterality or first.laterality & second.laterality
    return bool(sides) and (first.anatomy == second.anatomy or None in (first.anatomy, second.anatomy))


def flipped(first: frozenset[str], second: frozenset[str]) -> bool:
    """Left for right, or top for bottom."""
    return not first & second and any(first & axis and second & axis for axis in _AXES)
