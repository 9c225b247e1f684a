"""Values of published files, in the forms in which they come: choices, answers, texts, pictures.

A fault is a ValueError that says which column holds what, and what it should hold.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from groundrl.experiments.data.columns.column_map import AnswerColumns, ColumnMap, cell
from groundrl.experiments.data.formats.image_json import image_from_json
from groundrl.experiments.data.formats.values import shown
from groundrl.experiments.tasks.task import letter
from groundrl.rewards import ImageRef
from groundrl.rewards.library.labels import normalised
from groundrl.rollout.io.pictures import damage_as_os_error

LONGEST_LIST = 100_000  # characters of a list written as text
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")


def text_of(value: object, name: str) -> str | None:
    """The text of a value; numbers become text, a list of texts is joined by lines."""
    if isinstance(value, list | tuple):
        return "\n".join(text for each in value if (text := text_of(each, name)) is not None) or None
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ValueError(f"the column `{name}` holds {shown(value)}, which is no text")
    return None if value is None else str(value).strip()


def texts_of(value: object, name: str, separator: str) -> tuple[str, ...] | None:
    """The texts of a list, or of one text at its separators."""
    parts = value.split(separator) if isinstance(value, str) else value
    if parts is not None and not isinstance(parts, list | tuple):
        raise ValueError(f"the column `{name}` holds {shown(value)}, which is no list of texts")
    return None if parts is None else tuple(text for each in parts if (text := text_of(each, name)))


def choices_of(row: Mapping[str, Any], columns: ColumnMap) -> tuple[str, ...]:
    """The choices in order, without a prefix `A:` that repeats the letter; () where there are none."""
    if columns.fixed_choices is not None:
        return columns.fixed_choices
    if columns.choices is None:
        return ()
    if isinstance(columns.choices, tuple):
        values, name = [cell(row, each) for each in columns.choices], ", ".join(columns.choices)
    else:
        values, name = _listed(cell(row, columns.choices), columns.choices), columns.choices
    while values and values[-1] is None:
        values.pop()
    texts = [text_of(value, name) for value in values]
    if not all(texts):
        raise ValueError(f"the choice {letter([bool(text) for text in texts].index(False))} in `{name}` is empty")
    found = [str(text) for text in texts]
    prefixes = [re.match(rf"\s*{letter(index)}\s*[:.]\s*", text) for index, text in enumerate(found)]
    if all(prefix is not None and prefix.end() < len(text) for prefix, text in zip(prefixes, found, strict=True)):
        return tuple(text[prefix.end() :] for prefix, text in zip(prefixes, found, strict=True) if prefix)
    return tuple(found)


def _listed(value: object, name: str) -> list[Any]:
    """A list, an object by letter, or a list written as text."""
    if isinstance(value, str):
        value = list_written(value, name)
    if isinstance(value, Mapping):
        letters = sorted(value)
        if letters != [letter(index) for index in range(len(letters))]:
            raise ValueError(f"the column `{name}` has the letters {shown(letters)}, which are not A, B, ... in a row")
        return [value[each] for each in letters]
    if value is not None and not isinstance(value, list | tuple):
        raise ValueError(f"the column `{name}` holds {shown(value)}, which is no list of choices")
    return list(value or ())


def list_written(text: str, name: str) -> list[Any]:
    """A list of texts and numbers written as JSON or as Python writes it: read off, never run."""
    if len(text) > LONGEST_LIST:
        raise ValueError(f"the list in `{name}` has {len(text)} characters, more than {LONGEST_LIST}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise ValueError(f"the column `{name}` holds {shown(text)}, which is no list") from None
    if not isinstance(value, list) or not all(isinstance(each, str | int | float) for each in value):
        raise ValueError(f"the column `{name}` holds {shown(text)}, which is no list of texts")
    return value


def correct_of(row: Mapping[str, Any], columns: AnswerColumns, choices: Sequence[str]) -> int:
    """The place of the right choice. ValueError where it is none of them, or where two columns disagree."""
    readers = {"letter": _by_letter, "index": _by_index, "text": _by_text}
    named = [(kind, name) for kind, name in dict(columns).items() if name is not None and cell(row, name) is not None]
    if not named:
        raise ValueError(f"the right choice is not stated: {', '.join(filter(None, dict(columns).values()))} is empty")
    found = [readers[kind](cell(row, name), name, choices) for kind, name in named]
    if len(set(found)) > 1:
        said = " but ".join(f"`{name}` says {letter(index)}" for (_, name), index in zip(named, found, strict=True))
        raise ValueError(f"the right choice is not clear: {said}")
    return found[0]


def _by_letter(value: object, name: str, choices: Sequence[str]) -> int:
    match = _LETTER.fullmatch(value.strip()) if isinstance(value, str) else None
    index = ord(match[1].upper()) - ord("A") if match else -1
    if not 0 <= index < len(choices):
        raise ValueError(f"`{name}` is {shown(value)}, which is none of the letters A to {letter(len(choices) - 1)}")
    return index


def _by_index(value: object, name: str, choices: Sequence[str]) -> int:
    whole = type(value) is int or (isinstance(value, float) and value.is_integer())
    written = isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,3}(\.0)?\s*", value)
    index = int(float(value)) if written else int(value) if whole else None  # type: ignore[arg-type, call-overload]
    if index is None or not 0 <= index < len(choices):
        hidden = " (-1 hides the answer)" if index == -1 else ""
        raise ValueError(f"`{name}` is {shown(value)}{hidden}, but the choices are 0 to {len(choices) - 1}")
    return index


def _by_text(value: object, name: str, choices: Sequence[str]) -> int:
    wanted = normalised(text_of(value, name) or "")
    found = [index for index, choice in enumerate(choices) if normalised(choice) == wanted]
    if len(found) != 1:
        raise ValueError(f"`{name}` is {shown(value)}, which is {len(found) or 'none'} of the choices {shown(choices)}")
    return found[0]


def images_of(value: object, name: str, folder: Path) -> tuple[ImageRef, ...]:
    """The pictures in a cell: a path, bytes, `{bytes, path}`, or a list of these."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(image for each in value for image in images_of(each, name, folder))
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        try:
            with damage_as_os_error(), Image.open(io.BytesIO(value)) as opened:
                return (ImageRef(source=value, width=opened.width, height=opened.height),)
        except OSError as error:
            raise ValueError(f"the picture in `{name}` cannot be read: {error}") from None
    if not isinstance(value, str):
        raise ValueError(f"the column `{name}` holds {shown(value)}, which is neither a path nor a picture")
    return (image_from_json(value.strip(), folder),)
