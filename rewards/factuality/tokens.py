"""From text to words with their spans, and the longest known phrases among them by one walk of one trie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

# Words (in-word hyphens part them: "blue-white" is two), numbers, and the marks that bound a scope or a list.
_TOKEN = re.compile(r"[^\W\d_]++(?:['’][^\W\d_]++)?+|[0-9]++(?:\.[0-9]++)?+|[.!?;:,()/\n]|-(?!\w)|(?<!\w)-")
_HARD_ENDS = frozenset(".!?;")


class Kind(IntEnum):
    """What a phrase stands for."""

    CONCEPT = 0
    ATTRIBUTE = 1
    ANATOMY = 2
    SIDE = 3
    MODALITY = 4
    CUE = 5
    BREAK = 6
    ITEM = 7
    NUMBER = 8
    VERB = 9
    END = 10


class Hit(NamedTuple):
    """A phrase found: what it stands for, and its tokens `[start, end)`."""

    kind: Kind
    value: Any
    start: int
    end: int


class Words(NamedTuple):
    """A text's tokens: each one's normalised form, and its characters `[start, end)` in the text."""

    forms: list[str]
    spans: list[tuple[int, int]]


class Spelling:
    """One form for a word's spellings and numbers: lower case, American, singular.

    The phrases of the lexicon go through it too, so an odd form ("nucleu") only has to be the same on both sides.
    """

    def __init__(self, *, replaced: Mapping[str, str], plurals: Mapping[str, str]) -> None:
        self.replaced = tuple(replaced.items())
        self.plurals = dict(plurals)
        self.cached = lru_cache(maxsize=50_000)(self._form)

    def __call__(self, word: str) -> str:
        """The normalised form."""
        return self.cached(word)

    def _form(self, word: str) -> str:
        word = word.lower()
        if word in self.plurals:
            return self.plurals[word]
        for suffix in ("'s", "’s"):
            word = word.removesuffix(suffix)
        if len(word) > 4:
            for british, american in self.replaced:
                if british in word:
                    word = word.replace(british, american)
            if word in self.plurals:
                return self.plurals[word]
        return _singular(word)


def _singular(word: str) -> str:
    if len(word) <= 3 or word[-1] != "s" or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]


class Trie:
    """Phrases as paths of normalised words; what a phrase stands for lies under `None`."""

    def __init__(self, spelling: Spelling) -> None:
        self.spelling = spelling
        self.root: dict[Any, Any] = {}

    def add(self, phrase: str, kind: Kind, value: object) -> None:
        """A phrase may stand for several things, such as `without`: a cue and a separator."""
        node = self.root
        for form in tokens(phrase, self.spelling).forms:
            node = node.setdefault(form, {})
        meanings = node.setdefault(None, [])
        if (kind, value) not in meanings:
            meanings.append((kind, value))

    def hits(self, words: Words, text: str, abbreviations: frozenset[str], verbs: frozenset[str]) -> list[Hit]:
        """The phrases from left to right, the longest at each word, none within another; ends of sentences among them.

        Linear: a walk is as deep as the longest phrase.
        """
        found: list[Hit] = []
        forms, root, total = words.forms, self.root, len(words.forms)
        place = 0
        while place < total:
            form = forms[place]
            node = root.get(form)
            end = place
            meanings = None
            at = place
            while node is not None:
                at += 1
                if None in node:
                    end, meanings = at, node[None]
                node = node.get(forms[at]) if at < total else None
            if meanings is not None:
                for kind, value in meanings:
                    found.append(Hit(kind, value, place, end))
                place = end
                continue
            if form in verbs:
                found.append(Hit(Kind.VERB, form, place, place + 1))
            elif form[0].isdigit():
                if form.isdigit() and len(form) <= 4:
                    found.append(Hit(Kind.NUMBER, int(form), place, place + 1))
            elif (form in _HARD_ENDS or form == "\n") and _ends(words, place, text, abbreviations):
                found.append(Hit(Kind.END, form, place, place + 1))
            place += 1
        return found


def tokens(text: str, spelling: Spelling) -> Words:
    """The words of a text. Linear."""
    forms: list[str] = []
    spans: list[tuple[int, int]] = []
    cached = spelling.cached
    for match in _TOKEN.finditer(text):
        forms.append(cached(match.group()))
        spans.append(match.span())
    return Words(forms, spans)


def _ends(words: Words, place: int, text: str, abbreviations: frozenset[str]) -> bool:
    """Whether a mark ends a sentence: not after an abbreviation; a line's end only before a new line or a capital."""
    if words.forms[place] == ".":
        before = words.forms[place - 1] if place else ""
        return before not in abbreviations and not (len(before) == 1 and before.isalpha())
    if words.forms[place] != "\n" or place + 1 >= len(words.forms):
        return True
    return not text[words.spans[place + 1][0]].islower()
