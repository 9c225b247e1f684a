"""Whether one text agrees with itself: what it states against the knowledge base, without a reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from groundrl.rewards.factuality.compare import FactSet, Stated, flipped
from groundrl.rewards.factuality.facts import Fact, Reading, Span
from groundrl.rewards.factuality.lexicon import Lexicon
from groundrl.rewards.factuality.scopes import ABSENT, PRESENT


class Inconsistency(NamedTuple):
    """Two things in one text that cannot go together, and where they stand.

    `kind`: `contradiction` (present and absent), `exclusive`, `implied` (present, but what it implies is denied),
    `impossible` (a modality and a place), `flip` ("a left effusion ... the right effusion").
    """

    kind: str
    first: str
    second: str
    spans: tuple[Span, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.first} / {self.second}"


def inconsistencies(reading: Reading, facts: FactSet, lexicon: Lexicon) -> tuple[Inconsistency, ...]:
    """Each kind and pair once, in an order that does not depend on that of the text; `facts` are the reading's."""
    found = [
        *_contradictions(facts, lexicon),
        *_exclusive(facts, lexicon),
        *_impossible(reading, lexicon),
        *_flips(reading),
    ]
    return tuple({each[:3]: each for each in sorted(found)}.values())


def _denies(denial: Fact, claim: Fact, lexicon: Lexicon) -> bool:
    """Whether an absent fact denies a present one: it is at least as wide in side and place."""
    if denial.laterality and not (claim.laterality and claim.laterality <= denial.laterality):
        return False
    return denial.anatomy is None or (claim.anatomy is not None and lexicon.lies_in(claim.anatomy, denial.anatomy))


def _contradictions(facts: FactSet, lexicon: Lexicon) -> Iterator[Inconsistency]:
    denied: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.polarity == ABSENT and not lexicon.concepts[fact.concept].generic:
            denied.setdefault(fact.concept, []).append(fact)
    if not denied:
        return
    for claim in facts:
        if claim.polarity != PRESENT:
            continue
        for concept in (claim.concept, *lexicon.implied.get(claim.concept, ())):
            for denial in denied.get(concept, ()):
                if _denies(denial, claim, lexicon):
                    kind = "contradiction" if concept == claim.concept else "implied"
                    yield Inconsistency(kind, claim.concept, concept, _spans(facts[claim], facts[denial]))
                    break


def _exclusive(facts: FactSet, lexicon: Lexicon) -> Iterator[Inconsistency]:
    present: dict[str, Stated] = {fact.concept: stated for fact, stated in facts.items() if fact.polarity == PRESENT}
    for concept in present:
        for other in lexicon.exclusive.get(concept, frozenset()) & present.keys():
            if concept < other:
                yield Inconsistency("exclusive", concept, other, _spans(present[concept], present[other]))


def _impossible(reading: Reading, lexicon: Lexicon) -> Iterator[Inconsistency]:
    if not reading.modalities:
        return
    places = dict(reversed(reading.places))
    for mention in reversed(reading.mentions):
        if (place := lexicon.concepts[mention.fact.concept].anatomy) is not None:
            places[place] = mention.span
    for modality, span in dict(reversed(reading.modalities)).items():
        for place, other in places.items():
            if (modality, place) in lexicon.impossible:
                yield Inconsistency("impossible", modality, place, (span, other))


def _flips(reading: Reading) -> Iterator[Inconsistency]:
    """A side that is only ever named with "the", of a concept that was introduced on the opposite side only."""
    introduced: dict[str, set[frozenset[str]]] = {}
    for mention in reading.mentions:
        if mention.fact.polarity == PRESENT and mention.fact.laterality and not mention.definite:
            introduced.setdefault(mention.fact.concept, set()).add(mention.fact.laterality)
    for mention in reading.mentions:
        fact = mention.fact
        sides = introduced.get(fact.concept) if mention.definite and fact.polarity == PRESENT else None
        if sides and all(flipped(fact.laterality, side) for side in sides):
            words = (" ".join(sorted(fact.laterality)), fact.concept)
            yield Inconsistency("flip", words[1], words[0], (mention.span,))


def _spans(*stated: Stated) -> tuple[Span, ...]:
    return tuple(each.span for each in stated)
