"""What a lexicon must look like; a wrong entry is refused by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_KINDS = ("finding", "normal", "device", "incidental", "object")
_CONCEPT = {"synonyms", "kind", "anatomy", "of", "countable", "generic"}
_PLACE = {"synonyms", "within", "whole"}
# Section -> what each of its entries is.
_MAPPINGS = {
    "concepts": "an entry with `synonyms`",
    "anatomy": "an entry with `synonyms`",
    "attributes": "a list of phrases",
    "laterality": "a list of phrases",
    "modality": "a list of phrases",
    "cues": "a list of phrases",
    "spelling": "a word",
    "plurals": "a word",
    "numbers": "a whole number",
}
_TUPLES = {"compounds": 3, "exclusive": 2, "implied": 2, "impossible": 2}
_LISTS = ("terminators", "separators", "joiners", "verbs", "abbreviations", "units")
_FIXED = ("laterality", "cues")  # the code knows what these mean: phrases can be added, entries cannot


def check_section(section: str, entries: Any, known: Mapping[str, Any], name: str) -> None:
    """ValueError, naming the file and the entry, unless a section has its shape."""
    if section not in known:
        raise ValueError(f"{name}: there is no section {section!r}; sections: {', '.join(sorted(known))}")
    if section in _LISTS:
        _check_phrases(entries, f"{name}: {section}")
    elif section in _TUPLES:
        _check_tuples(entries, _TUPLES[section], f"{name}: {section}")
    else:
        _check_mapping(section, entries, known, name)


def _check_mapping(section: str, entries: Any, known: Mapping[str, Any], name: str) -> None:
    if not isinstance(entries, Mapping):
        raise ValueError(f"{name}: {section} must be an object, not {type(entries).__name__}")
    for key, entry in entries.items():
        where = f"{name}: {section}.{key}"
        if section in _FIXED and key not in known[section]:
            raise ValueError(f"{where} is not known; entries: {', '.join(sorted(known[section]))}")
        match section:
            case "concepts":
                _check_entry(entry, _CONCEPT, where, new=key not in known[section])
                if entry.get("kind", "finding") not in _KINDS:
                    raise ValueError(f"{where}.kind is {entry['kind']!r}; it must be one of {', '.join(_KINDS)}")
            case "anatomy":
                _check_entry(entry, _PLACE, where, new=key not in known[section])
            case "spelling" | "plurals":
                if not isinstance(entry, str) or not entry or not key:
                    raise ValueError(f"{where} must be {_MAPPINGS[section]}, got {entry!r}")
            case "numbers":
                if not isinstance(entry, int) or isinstance(entry, bool) or entry < 0:
                    raise ValueError(f"{where} must be {_MAPPINGS[section]}, got {entry!r}")
            case _:
                _check_phrases(entry, where)


def check_whole(sections: Mapping[str, Any], name: str) -> None:
    """ValueError for a name that one entry uses and no entry defines."""
    concepts, anatomy = sections["concepts"], sections["anatomy"]
    for key, entry in concepts.items():
        _known(entry.get("anatomy"), anatomy, f"{name}: concepts.{key}.anatomy")
        _known(entry.get("of"), concepts, f"{name}: concepts.{key}.of")
    for key, entry in anatomy.items():
        seen = {key}
        while (outer := entry.get("within")) is not None:
            _known(outer, anatomy, f"{name}: anatomy.{key}.within")
            if outer in seen:
                raise ValueError(f"{name}: anatomy.{key} lies within itself")
            seen.add(outer)
            entry = anatomy[outer]
    for index, attribute, concept in sections["compounds"]:
        where = f"{name}: compounds [{index}, {attribute}, {concept}]"
        _known(None if index == "*" else index, anatomy, where)
        _known(attribute, sections["attributes"], where)
        _known(concept, concepts, where)
    for section in ("exclusive", "implied"):
        for pair in sections[section]:
            for each in pair:
                if not (section == "exclusive" and each == pair[1] and each.startswith("*") and each[1:] in _KINDS):
                    _known(each, concepts, f"{name}: {section} [{', '.join(pair)}]")
    for modality, index in sections["impossible"]:
        _known(modality, sections["modality"], f"{name}: impossible [{modality}, {index}]")
        _known(index, anatomy, f"{name}: impossible [{modality}, {index}]")


def _known(word: str | None, among: Mapping[str, Any], where: str) -> None:
    if word is not None and word not in among:
        raise ValueError(f"{where} names {word!r}, which no entry defines; define it or correct the name")


def _check_entry(entry: Any, fields: set[str], where: str, *, new: bool) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} must be an object such as {{'synonyms': [...]}}, got {entry!r}")
    if unknown := sorted(set(entry) - fields):
        raise ValueError(f"{where} has the unknown field {unknown[0]!r}; fields: {', '.join(sorted(fields))}")
    if "synonyms" in entry or new:
        _check_phrases(entry.get("synonyms"), f"{where}.synonyms")
    for key in ("anatomy", "of", "within", "kind"):
        if not isinstance(entry.get(key, ""), str):
            raise ValueError(f"{where}.{key} must be a name, got {entry[key]!r}")
    for key in ("countable", "generic", "whole"):
        if not isinstance(entry.get(key, False), bool):
            raise ValueError(f"{where}.{key} must be true or false, got {entry[key]!r}")


def _check_phrases(phrases: Any, where: str) -> None:
    if isinstance(phrases, str) or not isinstance(phrases, Sequence):
        raise ValueError(f"{where} must be a list of phrases, got {phrases!r}")
    for phrase in phrases:
        if not isinstance(phrase, str) or not phrase.strip():
            raise ValueError(f"{where} holds {phrase!r}; each phrase must be text that is not empty")


def _check_tuples(rows: Any, width: int, where: str) -> None:
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise ValueError(f"{where} must be a list of lists of {width} names, got {rows!r}")
    for row in rows:
        if isinstance(row, str) or not isinstance(row, Sequence) or len(row) != width:
            raise ValueError(f"{where} holds {row!r}; each entry must be a list of {width} names")
        if not all(isinstance(each, str) for each in row):
            raise ValueError(f"{where} holds {row!r}; each entry must be a list of {width} names")
