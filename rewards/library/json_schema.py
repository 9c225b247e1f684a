"""The part of JSON Schema that an answer format needs, checked without a dependency.

Keywords: type, enum, const, properties, required, additionalProperties (true or false), items, minItems, maxItems,
minLength, maxLength, minimum, maximum; annotations (title, description) are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_BOUNDS = ("minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum")
_KNOWN = {"type", "enum", "const", "properties", "required", "additionalProperties", "items", "title", "description"}


def check_schema(schema: Mapping[str, Any]) -> None:
    """ValueError for a keyword or a type that is not known, however deep it stands."""
    if unknown := sorted(set(schema) - _KNOWN - set(_BOUNDS)):
        raise ValueError(f"JsonSchema does not know {unknown[0]!r}; it knows {', '.join(sorted({*_KNOWN, *_BOUNDS}))}")
    if "type" in schema and schema["type"] not in _TYPES:
        raise ValueError(f"JsonSchema does not know the type {schema['type']!r}; it knows {', '.join(_TYPES)}")
    for inner in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        check_schema(inner)


def violation(value: object, schema: Mapping[str, Any], where: str = "$") -> str | None:
    """The first thing in which a value breaks its schema, with its path, or None."""
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        return f"{where}: not of type {kind}"
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        return f"{where}: {value!r} is not allowed"
    measured = value if isinstance(value, int | float) else len(value) if isinstance(value, str | list) else None
    for bound in _BOUNDS:
        if bound in schema and measured is not None and _applies(bound, value):
            broken = measured < schema[bound] if bound.startswith("min") else measured > schema[bound]
            if broken:
                return f"{where}: breaks {bound} {schema[bound]}"
    return _inside(value, schema, where)


def _inside(value: object, schema: Mapping[str, Any], where: str) -> str | None:
    own: Mapping[str, Any] = schema.get("properties", {})
    inner: list[tuple[str, object, Mapping[str, Any]]] = []
    if isinstance(value, dict):
        for key in schema.get("required", ()):
            if key not in value:
                return f"{where}: {key!r} is missing"
        if schema.get("additionalProperties") is False and (extra := sorted(set(value) - set(own))):
            return f"{where}: {extra[0]!r} is not expected"
        inner = [(f"{where}.{key}", value[key], own[key]) for key in own if key in value]
    elif isinstance(value, list) and "items" in schema:
        inner = [(f"{where}[{k}]", item, schema["items"]) for k, item in enumerate(value)]
    return next((found for path, item, part in inner if (found := violation(item, part, path)) is not None), None)


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, float) and value.is_integer())


def _applies(bound: str, value: object) -> bool:
    if bound.endswith("Items"):
        return isinstance(value, list)
    if bound.endswith("Length"):
        return isinstance(value, str)
    return isinstance(value, int | float) and not isinstance(value, bool)
