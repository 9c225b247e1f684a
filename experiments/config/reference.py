"""The keys of a file as markdown, from its schema: type, default, bound and meaning stand at the fields alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from groundrl.rollout.settings import Settings

Schema = Mapping[str, Any]  # JSON schema, as pydantic makes it
WORDS = {  # of one, of several
    "string": ("text", "texts"),
    "integer": ("whole number", "whole numbers"),
    "number": ("number", "numbers"),
    "boolean": ("true or false", "true or false"),
    "object": ("mapping", "mappings"),
    "null": ("null", "null"),
}
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} of them",
    "minLength": "at least {} character",
    "pattern": "`{}`",
}
HEAD = "| key | type | default | bound | meaning |\n|---|---|---|---|---|"


@dataclass(frozen=True, kw_only=True)
class KeyTable:
    """The keys that may stand at some places of a file: `title` names the places, `text` says what stands there."""

    title: str
    text: str
    keys: Mapping[str, Schema]
    required: frozenset[str]

    @property
    def anchor(self) -> str:
        """The title as the target of a link."""
        return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", self.title).lower())


def file_page(title: str, model: type[Settings]) -> str:
    """What one kind of file may say, as markdown: a table for the file, then one for each mapping within it."""
    tables, anchors = file_tables(title, model)
    parts = []
    for table in tables:
        keys = sorted(table.keys, key=lambda key: key not in table.required)
        level = "##" if table is tables[0] else "###"
        rows = "\n".join(_row(table, key, anchors) for key in keys)
        parts.append(f"{level} {table.title}\n\n{table.text}\n\n{HEAD}\n{rows}")
    return "\n\n".join(parts)


def file_tables(title: str, model: type[Settings]) -> tuple[list[KeyTable], dict[str, str]]:
    """The tables of a file, and for each class of settings within it the anchor of its table."""
    schema = model.model_json_schema()
    classes: dict[str, Schema] = schema.get("$defs", {})
    found: dict[str, list[str]] = {}  # class -> the dotted keys under which it may stand
    _find(schema, "", classes, found)
    tables = [_table(title, schema)]
    anchors: dict[str, str] = {}
    for paths in dict.fromkeys(map(tuple, found.values())):
        alike = [name for name in found if tuple(found[name]) == paths]
        several = [classes[name] for name in alike]
        under = ", ".join(f"`{path}`" for path in paths)
        if len(alike) == 1:
            made = [_table(under, several[0])]
        else:  # kinds of one thing: what all of them have, then what each has besides
            first = several[0]["properties"]
            shared = {key for key in first if all(each["properties"].get(key) == first[key] for each in several)}
            made = [_table(under, {**several[0], "description": "What every kind has."}, shared)]
            for each in several:
                kind = f"{under}, kind `{each['properties']['kind']['const']}`"
                made.append(_table(kind, each, set(each["properties"]) - shared))
        anchors |= dict.fromkeys(alike, made[0].anchor)
        tables += made
    return tables, anchors


def _find(schema: Schema, path: str, classes: Mapping[str, Schema], found: dict[str, list[str]]) -> None:
    """Note under which dotted keys each class of settings may stand."""
    for key, value in schema["properties"].items():
        for name, in_list in _references(value):
            item = (".NAME" if "name" in classes[name]["properties"] else "[]") if in_list else ""
            inner = f"{path}{key}{item}"
            if inner not in found.setdefault(name, []):
                found[name].append(inner)
                _find(classes[name], f"{inner}.", classes, found)


def _references(value: Schema, in_list: bool = False) -> Iterator[tuple[str, bool]]:
    if "$ref" in value:
        yield _name(value), in_list
    for each in _kinds(value):
        yield from _references(each, in_list)
    if "items" in value:
        yield from _references(value["items"], True)


def _name(value: Schema) -> str:
    """The class to which a reference leads."""
    return str(value["$ref"]).rpartition("/")[2]


def _kinds(value: Schema) -> Sequence[Schema]:
    """What a value may be, where it may be several things."""
    return value.get("anyOf") or value.get("oneOf") or ()


def _table(title: str, schema: Schema, only: set[str] | None = None) -> KeyTable:
    keys = {key: value for key, value in schema["properties"].items() if only is None or key in only}
    return KeyTable(
        title=title, text=schema["description"], keys=keys, required=frozenset(schema.get("required", ())) & set(keys)
    )


def _row(table: KeyTable, key: str, anchors: Mapping[str, str]) -> str:
    value = table.keys[key]
    default = "required" if key in table.required else default_of(value)
    cells = (f"`{key}`", type_of(value, anchors), default, ", ".join(bounds_of(value)), value.get("description", ""))
    return f"| {' | '.join(cells)} |"


def type_of(value: Schema, anchors: Mapping[str, str]) -> str:
    """A type in plain words; a mapping with keys of its own is a link to them."""
    return _either(_types(value, anchors))


def _types(value: Schema, anchors: Mapping[str, str], several: bool = False) -> Iterator[str]:
    if "$ref" in value:
        yield f"[{WORDS['object'][several]}](#{anchors[_name(value)]})"
    elif "const" in value or "enum" in value:
        yield from (f"`{name}`" for name in value.get("enum", [value.get("const")]))
    elif kinds := _kinds(value):
        for kind in kinds:
            yield from _types(kind, anchors, several)
    elif value["type"] == "array":
        yield f"list of {_either(_types(value['items'], anchors, several=True))}"
    else:
        yield WORDS[value["type"]][several]


def _either(names: Iterable[str]) -> str:
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} or {last}" if others else last


def default_of(value: Schema) -> str:
    """A default as it is written in YAML; `{}` for a mapping whose keys have all their own defaults."""
    # What a factory makes is not in the schema: it is always an empty mapping.
    default = {} if "$ref" in value else value.get("default", {})
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def bounds_of(value: Schema) -> Iterator[str]:
    """What a value must keep, in plain words; within a list it is said of each."""
    for name, words in BOUNDS.items():
        if name in value:
            yield words.format(f"{value[name]:g}" if isinstance(value[name], float) else value[name])
    for each in _kinds(value):
        yield from bounds_of(each)
    if "items" in value:
        yield from (f"each {bound}" for bound in bounds_of(value["items"]))
