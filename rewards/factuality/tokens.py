"""From text to words with their spans, and the longest known phrases among them by one walk of one trie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

# Words (in-word hyphens part them: "blue-white" is two), numbers, and the marks that bound a scope or a list.
_TOKEN = re.compile(r"[^\W\d_]++(?:['’][^\W\d_]++)?+|[0-9]++(?:\.[0-9]++)?+|[.!?;:,()/\n]|-(?!\w)|(?<!\w)-")
ENDS = (".", "!", "?", ";", "\n")


class Kind:
    """What a phrase stands for; plain numbers, which a loop compares several times faster than an enumeration's."""

    CONCEPT: Final = 0
    ATTRIBUTE: Final = 1
    ANATOMY: Final = 2
    SIDE: Final = 3
    MODALITY: Final = 4
    CUE: Final = 5
    BREAK: Final = 6
    ITEM: Final = 7
    NUMBER: Final = 8
    VERB: Final = 9
    END: Final = 10


class Hit(NamedTuple):
    """A phrase found: what it stands for, and its tokens `[start, end)`."""

    kind: int
    value: Any
    start: int
    end: int


class Words(NamedTuple):
    """A text's tokens: each one's normalised form, and its characters `[start, end)` in the text."""

    forms: list[str]
    spans: list[tuple[int, int]]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the tokens `[start, end)`."""
        return self.spans[start][0], self.spans[end - 1][1]


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

    def add(self, phrase: str, kind: int, value: object) -> None:
        """A phrase may stand for several things, such as `without`: a cue and a separator."""
        node = self.root
        for form in tokens(phrase, self.spelling).forms:
            node = node.setdefault(form, {})
        meanings = node.setdefault(None, [])
        if (kind, value) not in meanings:
            meanings.append((kind, value))

    def hits(self, words: Words, text: str, abbreviations: frozenset[str]) -> list[Hit]:
        """The phrases from left to right, the longest at each word, none within another; ends of sentences among them.

        Linear: a walk is as deep as the longest phrase.
        """
        found: list[Hit] = []
        forms, first, total = words.forms, self.root.get, len(words.forms)
        past = 0  # the end of the last phrase
        for place, form in enumerate(forms):
            if place < past:
                continue
            node = first(form)
            if node is None:
                if form.isascii() and form.isdigit() and len(form) <= 4:
                    found.append(Hit(Kind.NUMBER, int(form), place, place + 1))
                continue
            at, meanings = place, None
            while node is not None:
                at += 1
                if None in node:
                    past, meanings = at, node[None]
                node = node.get(forms[at]) if at < total else None
            for kind, value in meanings or ():
                if kind != Kind.END or _ends(words, place, text, abbreviations):
                    found.append(Hit(kind, value, place, past))
        return found


def tokens(text: str, spelling: Spelling) -> Words:
    """The words of a text. Linear."""
    matches = list(_TOKEN.finditer(text))
    return Words([*map(spelling.cached, map(itemgetter(0), matches))], [match.span() for match in matches])


def _ends(words: Words, place: int, text: str, abbreviations: frozenset[str]) -> bool:
    """Whether a mark ends a sentence: not after an abbreviation; a line's end only before a new line or a capital."""
    if words.forms[place] == ".":
        before = words.forms[place - 1] if place else ""
        return before not in abbreviations and not (len(before) == 1 and before.isalpha())
    if words.forms[place] != "\n" or place + 1 >= len(words.forms):
        return True
    return not text[words.spans[place + 1][0]].islower()
