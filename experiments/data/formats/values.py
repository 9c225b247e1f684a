"""Values out of JSON or YAML, checked; a fault is a ValueError with what is wrong and what is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from groundrl.rewards.expression import nearest


def shown(value: object) -> str:
    """A value as it is written in a message: at most 80 characters."""
    written = repr(value)
    return written if len(written) <= 80 else written[:77] + "..."


def refuse_unknown(names: Iterable[object], known: Sequence[str], what: str) -> None:
    """ValueError with the nearest valid name, where one of the names is none of the known."""
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {shown(name)}{nearest(str(name), list(known))}")


def text(record: Mapping[str, Any], name: str, where: str | None = None) -> str | None:
    """The text under a name; None where it is absent or null."""
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"`{where or name}` is text, got {shown(value)}")
    return value


def texts(record: Mapping[str, Any], name: str, where: str) -> tuple[str, ...] | None:
    """The list of texts under a name; None where it is absent or null."""
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"`{where}` is a list of texts, got {shown(value)}")
    return tuple(value)


def array(value: object, name: str) -> list[Any]:
    """The value, which must be a list."""
    if not isinstance(value, list):
        raise ValueError(f"`{name}` is a list, got {shown(value)}")
    return value


def number(value: object, name: str) -> float:
    """The value as a float, which must be a number (finite or not)."""
    if type(value) not in (int, float):
        raise ValueError(f"`{name}` is a number, got {shown(value)}")
    try:
        return float(value)  # type: ignore[arg-type]  # int or float, as checked
    except OverflowError:
        raise ValueError(f"`{name}` is too large: {shown(value)}") from None


def size(record: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    """The positive `width` and `height` of an object; None where it has neither."""
    width, height = record.get("width"), record.get("height")
    if width is None and height is None:
        return None
    if width is None or height is None:
        raise ValueError(f"`{where}` has only one of `width` and `height`; give both or none")
    wide, high = number(width, f"{where}.width"), number(height, f"{where}.height")
    if not (0 < wide < float("inf") and 0 < high < float("inf")):
        raise ValueError(f"`{where}` needs a positive width and height, got {shown(width)} x {shown(height)}")
    return wide, high
