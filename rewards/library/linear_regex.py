"""Regular expressions in time linear in the text (Thompson, 1968): no backtracking, so no text can make one hang.

A pattern becomes a graph of states; matching walks all states at once, and remembers each set of states with its
successor for each character, so that a long text costs one look-up a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

_MOST_STATES = 5_000  # of a pattern: bounds nested counts such as ((a{99}){99}){99}
_MOST_SETS = 5_000  # remembered sets of states, forgotten together beyond it
_COUNT = re.compile(r"\{([0-9]{1,4})(,?)([0-9]{0,4})\}")
_ESCAPED = re.compile(r"\\(?:[dDwWsSnrtfv]|[^0-9A-Za-z])")

# A piece of the graph: where it starts, where it ends.
_Piece: TypeAlias = tuple[int, int]
_States: TypeAlias = frozenset[int]


@dataclass(eq=False)
class LinearRegex:
    """A compiled pattern."""

    accept: int
    start: _States
    symbols: dict[int, tuple[re.Pattern[str], int]]
    empty: dict[int, list[int]]
    seen: dict[_States, dict[str, _States]] = field(default_factory=dict)

    def fullmatch(self, text: str) -> bool:
        """Whether the whole text matches."""
        states = self.start
        for character in text:
            known = self.seen.setdefault(states, {})
            after = known.get(character)
            if after is None:
                after = known[character] = self._step(states, character)
                if len(self.seen) > _MOST_SETS:
                    self.seen.clear()
            if not after:
                return False
            states = after
        return self.accept in states

    def _step(self, states: _States, character: str) -> _States:
        edges = (self.symbols[state] for state in states if state in self.symbols)
        return closure((end for symbol, end in edges if symbol.fullmatch(character)), self.empty)


def closure(states: Iterable[int], empty: dict[int, list[int]]) -> _States:
    """The states and all that are reached from them without a character."""
    found: set[int] = set()
    waiting = list(states)
    while waiting:
        state = waiting.pop()
        if state not in found:
            found.add(state)
            waiting.extend(empty.get(state, ()))
    return frozenset(found)


@lru_cache(maxsize=64)
def compile_linear(pattern: str) -> LinearRegex:
    """Compile a pattern; ValueError, with the position, for anchors, look-around, back-references, lazy quantifiers."""
    return _Compiler(pattern).compiled()


class _Compiler:
    """Reads a pattern from left to right and builds the graph as it goes."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.states = 0
        self.symbols: dict[int, tuple[re.Pattern[str], int]] = {}
        self.empty: dict[int, list[int]] = {}

    def compiled(self) -> LinearRegex:
        start, accept = self.alternatives()
        if self.position < len(self.pattern):
            raise self.refused("unbalanced ')'")
        return LinearRegex(accept, closure([start], self.empty), self.symbols, self.empty)

    def alternatives(self) -> _Piece:
        start, end = self.state(), self.state()
        while True:
            first, last = self.sequence()
            self.join(start, first)
            self.join(last, end)
            if self.peek() != "|":
                return start, end
            self.position += 1

    def sequence(self) -> _Piece:
        start = end = self.state()
        while self.peek() not in ("", "|", ")"):
            first, last = self.repeated()
            self.join(end, first)
            end = last
        return start, end

    def repeated(self) -> _Piece:
        """One atom with its quantifiers; a counted atom is read again for each copy."""
        begun = self.position
        piece = self.atom()
        low, high = self.quantifier()
        if (low, high) == (1, 1):
            return piece
        after = self.position
        start = end = self.state()
        for copy in range(max(low, 1) if high is None else high):
            self.position = begun
            first, last = piece if copy == 0 else self.atom()
            self.join(end, first)
            if copy >= low:
                self.join(first, last)
            if high is None and copy >= low - 1:
                self.join(last, first)
            end = last
        self.position = after
        if self.peek() in ("*", "+", "?", "{"):
            raise self.refused("two quantifiers in a row")
        return start, end

    def quantifier(self) -> tuple[int, int | None]:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self.peek() in simple:
            self.position += 1
            return simple[self.pattern[self.position - 1]]
        match = _COUNT.match(self.pattern, self.position)
        if match is None:
            return 1, 1
        self.position = match.end()
        low = int(match[1])
        high = (int(match[3]) if match[3] else None) if match[2] else low
        if high is not None and high < max(low, 1):
            raise self.refused("a count that allows nothing")
        return low, high

    def atom(self) -> _Piece:
        character = self.peek()
        if character == "(":
            return self.group()
        if character in ("*", "+", "?", "{", "^", "$"):
            raise self.refused(f"{character!r} has no meaning here; the whole text is matched, escape it for itself")
        if character == "[":
            end = self.class_end()
        elif character == "\\":
            escaped = _ESCAPED.match(self.pattern, self.position)
            if escaped is None:
                raise self.refused("an escape that is not supported")
            end = escaped.end()
        else:
            end = self.position + 1
        symbol = re.compile(self.pattern[self.position : end], re.DOTALL)
        self.position = end
        start, after = self.state(), self.state()
        self.symbols[start] = (symbol, after)
        return start, after

    def group(self) -> _Piece:
        self.position += 3 if self.pattern.startswith("(?:", self.position) else 1
        if self.peek() == "?":
            raise self.refused("only (...) and (?:...) are supported")
        piece = self.alternatives()
        if self.peek() != ")":
            raise self.refused("'(' is never closed")
        self.position += 1
        return piece

    def class_end(self) -> int:
        """Past the `]` that closes the class; one that comes first stands for itself."""
        at = self.position + 1 + self.pattern.startswith("^", self.position + 1)
        at += self.pattern.startswith("]", at)
        while at < len(self.pattern) and self.pattern[at] != "]":
            at += 2 if self.pattern[at] == "\\" else 1
        if at >= len(self.pattern):
            raise self.refused("'[' is never closed")
        return at + 1

    def peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def state(self) -> int:
        self.states += 1
        if self.states > _MOST_STATES:
            raise self.refused(f"the pattern needs more than {_MOST_STATES} states")
        return self.states

    def join(self, start: int, end: int) -> None:
        self.empty.setdefault(start, []).append(end)

    def refused(self, why: str) -> ValueError:
        return ValueError(f"the pattern {self.pattern!r}, at position {self.position}: {why}")
