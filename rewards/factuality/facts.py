"""Facts read from text: `(concept, polarity, laterality, anatomy)`, with how many and where they are said."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple, TypeAlias, TypeVar

from groundrl.rewards.factuality.lexicon import Lexicon, load_lexicon
from groundrl.rewards.factuality.scopes import ABSENT, DROPPED, Scopes
from groundrl.rewards.factuality.tokens import Hit, Kind, Words, tokens

Sides: TypeAlias = frozenset[str]
Span: TypeAlias = tuple[int, int]
T = TypeVar("T")

_NO_SIDE: Sides = frozenset()
# How far, in words, what belongs to a finding may stand from it: a place before its attribute ("the heart is mildly
# enlarged") or after it ("normal heart size"), a number before what it counts.
_PLACE_BEFORE, _PLACE_AFTER, _NUMBER_BEFORE = 8, 5, 4


class Fact(NamedTuple):
    """What a text states of one concept. `polarity`: present, absent or uncertain.

    `laterality` is a set of left, right, top and bottom, empty where none is stated; "bilateral" is left and right.
    `anatomy` is None where no place is stated, or only that in which the concept always lies.
    """

    concept: str
    polarity: str
    laterality: Sides = _NO_SIDE
    anatomy: str | None = None

    def __str__(self) -> str:
        words = [self.polarity, *sorted(self.laterality), *([self.anatomy] if self.anatomy else []), self.concept]
        return " ".join(words)


class Mention(NamedTuple):
    """One place at which a text states a fact: characters `span` of the text.

    `number` is how many are stated of a countable concept; `definite` is whether it was named with "the".
    """

    fact: Fact
    span: Span
    number: int | None = None
    definite: bool = False


class Reading(NamedTuple):
    """All mentions of a text in its order, and the modalities and places that it names with their spans."""

    mentions: tuple[Mention, ...]
    modalities: tuple[tuple[str, Span], ...] = ()
    places: tuple[tuple[str, Span], ...] = ()


def read_facts(text: str, lexicon: Lexicon | None = None) -> Reading:
    """The facts of a text, by the shipped lexicon unless another is given. Linear in the text; never raises."""
    known = load_lexicon() if lexicon is None else lexicon
    words = tokens(text, known.spelling)
    hits = known.trie.hits(words, text, known.abbreviations)
    mentions: list[Mention] = []
    begin = first = 0
    for index in range(len(hits) + 1):
        if index == len(hits) or hits[index].kind == Kind.END:
            end = hits[index].start if index < len(hits) else len(words.forms)
            if any(hit.kind <= Kind.ATTRIBUTE for hit in hits[begin:index]):
                mentions += _Sentence(hits[begin:index], first, end, words, known).mentions()
            begin, first = index + 1, end + 1
    return Reading(
        mentions=tuple(mentions),
        modalities=tuple((hit.value, words.span(hit.start, hit.end)) for hit in hits if hit.kind == Kind.MODALITY),
        places=tuple(
            (hit.value, words.span(hit.start, hit.end))
            for hit in hits
            if hit.kind == Kind.ANATOMY and hit.value not in known.wholes
        ),
    )


@dataclass(slots=True)
class _Target:
    """A finding in a sentence: its hit's index, its concept and its tokens."""

    index: int
    concept: str
    start: int
    end: int


@dataclass(slots=True)
class _Item:
    """What stands between two separators."""

    start: int
    targets: list[_Target] = field(default_factory=list)
    sides: list[tuple[int, Sides]] = field(default_factory=list)
    places: list[tuple[int, str]] = field(default_factory=list)
    numbers: list[tuple[int, int]] = field(default_factory=list)


class _Sentence:
    """The phrases of one sentence, tokens `[first, end)`."""

    def __init__(self, hits: Sequence[Hit], first: int, end: int, words: Words, lexicon: Lexicon) -> None:
        self.hits, self.words, self.lexicon = hits, words, lexicon
        self.length = end - first
        self.scopes = Scopes(hits, end, lexicon.joiners)
        self.items = self._items(first)
        bare = [item for item in self.items if not item.targets]
        self.side = next((item.sides[0][1] for item in bare if item.sides), _NO_SIDE)
        self.place = next((item.places[0][1] for item in bare if item.places), None)

    def mentions(self) -> list[Mention]:
        """What the sentence states, in its order."""
        said: list[Mention] = []
        for item in self.items:
            subjects = {self.lexicon.concepts[target.concept].of for target in item.targets}
            denied = {
                (own, self.scopes.denied_by[target.index])
                for target in item.targets
                if (own := self.lexicon.concepts[target.concept].of)
            }
            after = 0
            for target in item.targets:
                before, after = after, target.end
                status = self.scopes.status[target.index]
                # "No nuclei touch the border" denies the touching, not the nuclei.
                if status == DROPPED or (status == ABSENT and (target.concept, self._cue(target)) in denied):
                    continue
                mention = self._mention(item, target, status, owns_place=target.concept not in subjects)
                if self.lexicon.concepts[target.concept].countable and status != ABSENT:
                    mention = mention._replace(number=_count(item, target, before))
                said.append(mention)
        return said

    def _cue(self, target: _Target) -> int:
        return self.scopes.denied_by[target.index]

    def _mention(self, item: _Item, target: _Target, status: str, *, owns_place: bool) -> Mention:
        concept = self.lexicon.concepts[target.concept]
        side, place = _NO_SIDE, None
        if owns_place:
            side = _nearest(item.sides, target) or self.side
            place = _nearest(item.places, target) or self.place
            if place and concept.anatomy and self.lexicon.lies_in(concept.anatomy, place):
                place = None
        forms = self.words.forms
        return Mention(
            fact=Fact(target.concept, status, side, place),
            span=self.words.span(target.start, target.end),
            definite="the" in (forms[item.start], forms[item.start - 1] if item.start else ""),
        )

    def _items(self, first: int) -> list[_Item]:
        """The sentence parted at separators and terminators; sides that are joined ("left and bottom") are one."""
        items = [_Item(start=first)]
        hits = self.hits
        for index, hit in enumerate(hits):
            item = items[-1]
            match hit.kind:
                case Kind.CONCEPT:
                    item.targets.append(_Target(index, hit.value, hit.start, hit.end))
                case Kind.ATTRIBUTE:
                    if (target := self._resolved(index)) is not None:
                        item.targets.append(target)
                case Kind.SIDE if self._continues(index):
                    item.sides[-1] = (hit.start, item.sides[-1][1] | hit.value)
                case Kind.SIDE:
                    item.sides.append((hit.start, hit.value))
                case Kind.ANATOMY if hit.value not in self.lexicon.wholes:
                    item.places.append((hit.start, hit.value))
                case Kind.NUMBER:
                    if not (hit.end < len(self.words.forms) and self.words.forms[hit.end] in self.lexicon.units):
                        item.numbers.append((hit.start, hit.value))
                case Kind.ITEM | Kind.BREAK:
                    if not self._joins(index):
                        items.append(_Item(start=min(hit.end, len(self.words.forms) - 1)))
        return items

    def _continues(self, index: int) -> bool:
        """Whether a side goes on with the one before it: "top left", "left and bottom"."""
        before = self.hits[index - 1] if index else None
        if before is None or before.end != self.hits[index].start:
            return False
        return before.kind == Kind.SIDE or self._joins(index - 1)

    def _joins(self, index: int) -> bool:
        """Whether a separator only joins two sides."""
        hits, own = self.hits, self.hits[index]
        if own.kind != Kind.ITEM or own.value not in self.lexicon.joiners or not 0 < index < len(hits) - 1:
            return False
        before, after = hits[index - 1], hits[index + 1]
        adjacent = before.end == own.start and own.end == after.start
        return adjacent and before.kind == after.kind == Kind.SIDE

    def _resolved(self, index: int) -> _Target | None:
        """The concept that an attribute makes with a place near it: `heart` and `enlarged` are cardiomegaly."""
        hits, compounds = self.hits, self.lexicon.compounds
        own = hits[index]
        # Its own item first, so that "touching the left border, two touching the top border" are two.
        for step, reach, beyond in ((-1, _PLACE_BEFORE, False), (1, _PLACE_AFTER, False), (-1, _PLACE_BEFORE, True)):
            at = index + step
            while 0 <= at < len(hits) and hits[at].kind != Kind.BREAK:
                if not beyond and hits[at].kind == Kind.ITEM and not self._joins(at):
                    break
                distance = own.start - hits[at].end if step < 0 else hits[at].start - own.end
                if distance > reach:
                    break
                if hits[at].kind == Kind.ANATOMY and (hits[at].value, own.value) in compounds:
                    concept = compounds[hits[at].value, own.value]
                    return _Target(index, concept, min(own.start, hits[at].start), max(own.end, hits[at].end))
                at += step
        alone = len(hits) == 1 and own.end - own.start == self.length  # "Normal." is said of the whole
        for place in (*(self.lexicon.wholes if alone else ()), "*"):
            if (place, own.value) in compounds:
                return _Target(index, compounds[place, own.value], own.start, own.end)
        return None


def _nearest(said: Sequence[tuple[int, T]], target: _Target) -> T | None:
    """What was said last before the end of a target in its item, else first after it."""
    place = bisect_left(said, target.end, key=itemgetter(0))
    return said[place - 1][1] if place else said[0][1] if said else None


def _count(item: _Item, target: _Target, after: int) -> int | None:
    """The number that stands close before a target, after token `after`."""
    place = bisect_left(item.numbers, target.start, key=itemgetter(0)) - 1
    near = place >= 0 and item.numbers[place][0] >= max(after, target.start - _NUMBER_BEFORE)
    return item.numbers[place][1] if near else None
