"""Regular expressions of RE2: time linear in the text (Thompson, 1968), no backtracking, so no text makes one hang."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol, cast, runtime_checkable


@runtime_checkable
class Regex(Protocol):
    """What is used of a compiled pattern."""

    def fullmatch(self, text: str) -> object:
        """A match of the whole text, or None."""

    def search(self, text: str) -> object:
        """A match anywhere in the text, or None."""


@lru_cache(maxsize=64)
def compiled(pattern: str, *, dot_matches_newline: bool = False) -> Regex:
    """Compile a pattern; ValueError for what RE2 refuses: look-around, back-references, counts above 1000."""
    import re2

    options = re2.Options()
    options.dot_nl = dot_matches_newline
    options.log_errors = False
    try:
        return cast(Regex, re2.compile(pattern, options))
    except re2.error as problem:
        why = problem.args[0].decode("utf-8", "replace")
        raise ValueError(
            f"the pattern {pattern!r} is none that RE2 can read ({why}); "
            "it has no look-around, no back-references and no counts above 1000"
        ) from None
    except UnicodeEncodeError:
        raise ValueError(f"the pattern {pattern!r} holds half a surrogate pair; write the character itself") from None


def readable(text: str) -> str:
    """The text with `?` for each lone surrogate, which UTF-8 and so RE2 cannot hold."""
    return text.encode("utf-8", "replace").decode()
