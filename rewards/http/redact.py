"""Taking the key out of a text, however a server wrote it there."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

SHOWN = "[key]"


@lru_cache(maxsize=16)
def redactor(key: str) -> Callable[[str], str]:
    """Replaces the key, each character of it as it is or escaped, with `[key]`; nothing where there is no key.

    Escapes are those of JSON, Python, addresses and HTML, several times over too (JSON in JSON). Python's `re` would
    take exponential time over a key of backslashes; RE2 reads a text once.
    """
    import re2

    if not key:
        return lambda text: text
    pattern = re2.compile("".join(_written(char) for char in key))
    return lambda text: str(pattern.sub(SHOWN, text.encode(errors="replace").decode()))


def _written(char: str) -> str:
    """A pattern for one ASCII character: itself, `\\c`, `\\u0063`, `\\x63`, `%63`, `&#99;`, `&#x63;` or `&name;`."""
    from html.entities import html5

    code = ord(char)
    digits = f"(?i:{code:02x})"
    escaped = rf"\\{{0,16}}{re.escape(char)}|\\{{1,16}}(?:u00{digits}|x{digits})"
    named = "".join(rf"|{re.escape(name)}" for name, value in html5.items() if value == char)
    return rf"(?:{escaped}|%(?:25){{0,8}}{digits}|&(?:amp;){{0,8}}(?:#0{{0,8}}{code};?|#[xX]0{{0,8}}{digits};?{named}))"
