"""The words that the factuality verifier knows, as data: four shipped JSON files, and a user's own merged over them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from groundrl.rewards.factuality.schema import check_section, check_whole
from groundrl.rewards.factuality.tokens import ENDS, Kind, Spelling, Trie

LexiconSource: TypeAlias = str | Path | Mapping[str, Any] | None

_SHIPPED = ("concepts", "words", "cues", "knowledge")


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One thing that a report can state.

    `kind`: `finding`; `normal` (a statement of normality, which weighs like an absent finding); `device`, `incidental`
    and `object`, which go together with "normal". `anatomy` is where it always is, so that naming the place says
    nothing more; `of` is the concept of which it is a property; `countable` concepts take a number; `generic` ones name
    several things (devices), so that one may be present while another is absent.
    """

    kind: str = "finding"
    anatomy: str | None = None
    of: str | None = None
    countable: bool = False
    generic: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Lexicon:
    """Everything that reading and comparing needs, compiled once: one trie of all phrases, and the rules as sets."""

    trie: Trie
    spelling: Spelling
    concepts: Mapping[str, Concept]
    compounds: Mapping[tuple[str, str], str]
    within: Mapping[str, str]
    wholes: frozenset[str]
    units: frozenset[str]
    joiners: frozenset[str]
    abbreviations: frozenset[str]
    exclusive: Mapping[str, frozenset[str]]
    implied: Mapping[str, tuple[str, ...]]
    impossible: frozenset[tuple[str, str]]

    def lies_in(self, place: str, region: str) -> bool:
        """Whether an anatomical place is a region or lies in it."""
        while place != region and place in self.within:
            place = self.within[place]
        return place == region


def load_lexicon(source: LexiconSource = None) -> Lexicon:
    """The shipped words with `source` merged over them: a JSON file or a mapping with any of their sections.

    Synonyms and lists are added to those that are there, other fields of an entry replace its own. ValueError that
    names the file and the entry for whatever is wrong.
    """
    return compiled(merged_text(source))


def merged_text(source: LexiconSource) -> str:
    """The merged sections as JSON text: what `compiled` takes, and what a reward's scores depend on."""
    if source is None:
        return shipped_text()
    name, own = ("the lexicon", source) if isinstance(source, Mapping) else (str(source), _read(Path(source)))
    sections = json.loads(shipped_text())
    for section, entries in own.items():
        check_section(section, entries, sections, name)
        _merge(sections[section], entries)
    check_whole(sections, name)
    return json.dumps(sections)


@lru_cache(maxsize=1)
def shipped_text() -> str:
    """The shipped sections as JSON text."""
    folder = Path(__file__).parent
    sections: dict[str, Any] = {}
    for file in _SHIPPED:
        sections |= json.loads((folder / f"{file}.json").read_text(encoding="utf-8"))
    check_whole(sections, "the shipped lexicon")
    return json.dumps(sections)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise ValueError(f"the lexicon {str(path)!r} cannot be read as JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise ValueError(f"the lexicon {str(path)!r} must hold one JSON object of sections, not {type(value).__name__}")
    return value


def _merge(old: Any, new: Any) -> None:
    """Add the entries of a section to those that are there, in place."""
    if isinstance(old, list):
        old += [entry for entry in new if entry not in old]
        return
    for key, entry in new.items():
        if isinstance(entry, Mapping | list | tuple) and key in old:
            _merge(old[key], entry)
        else:
            old[key] = list(entry) if isinstance(entry, tuple) else entry


@lru_cache(maxsize=8)
def compiled(text: str) -> Lexicon:
    """The lexicon of merged sections; each is compiled once a process."""
    sections = json.loads(text)
    spelling = Spelling(replaced=sections["spelling"], plurals=sections["plurals"])
    trie = Trie(spelling)
    for phrase, kind, value in _phrases(sections):
        trie.add(phrase, kind, value)

    def plain(words: Sequence[str]) -> frozenset[str]:
        return frozenset(spelling(word) for word in words)

    concepts = {
        name: Concept(**{key: value for key, value in entry.items() if key != "synonyms"})
        for name, entry in sections["concepts"].items()
    }
    return Lexicon(
        trie=trie,
        spelling=spelling,
        concepts=concepts,
        compounds={(place, attribute): concept for place, attribute, concept in sections["compounds"]},
        within={name: entry["within"] for name, entry in sections["anatomy"].items() if "within" in entry},
        wholes=frozenset(name for name, entry in sections["anatomy"].items() if entry.get("whole")),
        units=plain(sections["units"]),
        joiners=plain(sections["joiners"]),
        abbreviations=plain(sections["abbreviations"]),
        exclusive=_expanded(sections["exclusive"], concepts),
        implied=_followed(sections["implied"]),
        impossible=frozenset((modality, place) for modality, place in sections["impossible"]),
    )


def _phrases(sections: Mapping[str, Any]) -> Iterator[tuple[str, int, object]]:
    """Every phrase with what it stands for."""
    sides = {"bilateral": frozenset({"left", "right"})}
    for name, entry in sections["concepts"].items():
        yield from ((phrase, Kind.CONCEPT, name) for phrase in entry["synonyms"])
    for name, entry in sections["anatomy"].items():
        yield from ((phrase, Kind.ANATOMY, name) for phrase in entry["synonyms"])
    for name, phrases in sections["attributes"].items():
        yield from ((phrase, Kind.ATTRIBUTE, name) for phrase in phrases)
    for name, phrases in sections["laterality"].items():
        yield from ((phrase, Kind.SIDE, sides.get(name, frozenset({name}))) for phrase in phrases)
    for name, phrases in sections["modality"].items():
        yield from ((phrase, Kind.MODALITY, name) for phrase in phrases)
    for name, phrases in sections["cues"].items():
        yield from ((phrase, Kind.CUE, name) for phrase in phrases)
    yield from ((phrase, Kind.BREAK, phrase) for phrase in sections["terminators"])
    yield from ((phrase, Kind.ITEM, phrase) for phrase in sections["separators"])
    yield from ((phrase, Kind.VERB, phrase) for phrase in sections["verbs"])
    yield from ((mark, Kind.END, mark) for mark in ENDS)
    yield from ((phrase, Kind.NUMBER, number) for phrase, number in sections["numbers"].items())


def _expanded(pairs: Sequence[Sequence[str]], concepts: Mapping[str, Concept]) -> dict[str, frozenset[str]]:
    """Each concept with those that it excludes, both ways; `*finding` stands for every concept of that kind."""
    excluded: dict[str, set[str]] = {}
    for first, second in pairs:
        others = [second] if not second.startswith("*") else [n for n, c in concepts.items() if c.kind == second[1:]]
        for other in others:
            excluded.setdefault(first, set()).add(other)
            excluded.setdefault(other, set()).add(first)
    return {name: frozenset(others) for name, others in excluded.items()}


def _followed(pairs: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Each concept with all that follow from it, however many steps away."""
    direct: dict[str, list[str]] = {}
    for first, second in pairs:
        direct.setdefault(first, []).append(second)
    implied: dict[str, tuple[str, ...]] = {}
    for concept in direct:
        found: list[str] = []
        waiting = [concept]
        while waiting:
            new = [each for each in direct.get(waiting.pop(), ()) if each != concept and each not in found]
            found += new
            waiting += new
        implied[concept] = tuple(found)
    return implied
