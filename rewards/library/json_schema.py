"""JSON Schema (draft 2020-12) through the jsonschema library, made safe for a model's text: patterns run on RE2.

A schema refers only to itself: nothing is fetched. A keyword that the draft does not have is refused, since the
library would leave it out in silence. Imported on first use: jsonschema takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from groundrl.rewards.library.regex import compiled, readable

_ANNOTATIONS = {
    *("$schema", "$defs", "$comment", "title", "description", "default", "examples", "deprecated"),
    *("readOnly", "writeOnly", "then", "else", "minContains", "maxContains"),
}
_REFUSED = {"patternProperties", "$dynamicRef", "format"}  # run on `re`; leave the schema; not checked by the library
_LONGEST = 200  # characters of a reason: the library repeats the value in it


def check_schema(schema: Mapping[str, Any]) -> None:
    """ValueError for what is no schema, an unknown keyword, pattern or reference, however deep it stands."""
    from jsonschema import Draft202012Validator, FormatChecker, SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(()))
    except SchemaError as problem:
        raise ValueError(f"JsonSchema: the schema is none, at {problem.json_path}: {_short(problem.message)}") from None
    known = (set(Draft202012Validator.VALIDATORS) | _ANNOTATIONS) - _REFUSED
    root = DRAFT202012.create_resource(schema)
    resolver = Registry().resolver_with_root(root)
    waiting = [root]
    while waiting:
        part = waiting.pop()
        waiting.extend(part.subresources())
        if not isinstance(part.contents, Mapping):  # true or false is a schema too
            continue
        if unknown := sorted(set(part.contents) - known):
            raise ValueError(f"JsonSchema does not know {unknown[0]!r}; it knows {', '.join(sorted(known))}")
        if "pattern" in part.contents:
            compiled(part.contents["pattern"])
        if "$ref" in part.contents:
            try:
                resolver.lookup(part.contents["$ref"])
            except Unresolvable:
                raise ValueError(
                    f"JsonSchema: {part.contents['$ref']!r} is not in the schema; refer to '#/$defs/NAME' in it"
                ) from None


def violation(value: object, schema: Mapping[str, Any]) -> str | None:
    """The first thing in which a value breaks its schema, with its path, or None. RecursionError as Python's own."""
    error = next(_validator_class()(schema).iter_errors(value), None)
    return None if error is None else f"{error.json_path}: {_short(error.message)}"


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    return extend(Draft202012Validator, {"pattern": _pattern})


def _pattern(validator: Any, pattern: str, value: object, schema: object) -> Iterator[Exception]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not compiled(pattern).search(readable(value)):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _short(message: str) -> str:
    return message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"
