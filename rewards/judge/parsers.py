"""How a judge's reply is read: strictly, its last line alone, and never anything that the judged answer says.

A published evaluation kit lets its judge answer 0 for *correct*; another finds "correct" inside "incorrect". Here the
judge writes words, the line must be exactly one of those that were asked for, and whatever else is `Unreadable`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

_NUMBER = re.compile(r"-?+[0-9]{1,9}+(?:\.[0-9]{1,9}+)?+")


class Unreadable(Exception):
    """A reply that is not in the form that was asked for; the message says why."""


@runtime_checkable
class Parser(Protocol):
    """The form in which a judge is asked to close its reply, and the value in [lo, hi] of a reply in that form."""

    @property
    def form(self) -> str:
        """The sentence of the template that asks for the form."""

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value."""

    def read(self, reply: str) -> float:
        """The value of a reply; Unreadable for one that is not exactly in the form."""


@dataclass(frozen=True)
class Verdict:
    """One line `Verdict: correct`, `Verdict: partial` or `Verdict: incorrect`; see `verdict`."""

    correct: float
    partial: float | None
    incorrect: float

    def __post_init__(self) -> None:
        between = self.incorrect if self.partial is None else self.partial
        finite = all(map(math.isfinite, (self.correct, between, self.incorrect)))
        if not (finite and self.incorrect <= between <= self.correct and self.incorrect < self.correct):
            wanted = "verdict() needs finite numbers with incorrect <= partial <= correct and incorrect < correct"
            raise ValueError(f"{wanted}, got {self!r}")

    @property
    def values(self) -> dict[str, float]:
        """Word -> value."""
        words = {"correct": self.correct, "partial": self.partial, "incorrect": self.incorrect}
        return {word: value for word, value in words.items() if value is not None}

    @property
    def form(self) -> str:
        """Names each line that is allowed."""
        lines = "\n".join(f"Verdict: {word}" for word in self.values)
        return f"Close your reply with one line that is exactly one of these, and write no other such line:\n{lines}"

    @property
    def range(self) -> tuple[float, float]:
        """`(incorrect, correct)`."""
        return self.incorrect, self.correct

    def read(self, reply: str) -> float:
        """The value of the word on the last line."""
        said = closing(reply, mark="Verdict: ")
        if said not in self.values:
            raise Unreadable(f"the verdict is {said[:80]!r}, not one of {', '.join(self.values)}")
        return self.values[said]

    def __repr__(self) -> str:
        return f"verdict(correct={self.correct!r}, partial={self.partial!r}, incorrect={self.incorrect!r})"


@dataclass(frozen=True)
class ScoreLine:
    """One line `Score: 7`; see `score`."""

    lo: float
    hi: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lo) and math.isfinite(self.hi) and self.lo < self.hi):
            raise ValueError(f"score(lo, hi) needs finite numbers with lo < hi, got {self!r}")

    @property
    def form(self) -> str:
        """Names the ends and which is the better one."""
        ends = f"from {self.lo:g} (worst) to {self.hi:g} (best)"
        return f"Close your reply with one line `Score: N`, N a number {ends}, and write no other such line."

    @property
    def range(self) -> tuple[float, float]:
        """`(0, 1)`."""
        return 0.0, 1.0

    def read(self, reply: str) -> float:
        """`(N - lo) / (hi - lo)`."""
        said = closing(reply, mark="Score: ")
        if not _NUMBER.fullmatch(said):
            raise Unreadable(f"the score is {said[:80]!r}, not a plain number")
        if not self.lo <= float(said) <= self.hi:
            raise Unreadable(f"the score {said} is outside {self.lo:g} to {self.hi:g}")
        return (float(said) - self.lo) / (self.hi - self.lo)

    def __repr__(self) -> str:
        return f"score({self.lo!r}, {self.hi!r})"


def verdict(*, correct: float = 1.0, partial: float | None = 0.5, incorrect: float = 0.0) -> Verdict:
    """The judge closes with one of three words; `partial=None` leaves it two.

    ValueError unless `incorrect <= partial <= correct` and `incorrect < correct`.
    """
    return Verdict(float(correct), None if partial is None else float(partial), float(incorrect))


def score(lo: float, hi: float) -> ScoreLine:
    """The judge closes with a number from `lo` (worst) to `hi` (best); the reward is where it lies, from 0 to 1."""
    return ScoreLine(float(lo), float(hi))


def closing(reply: str, *, mark: str) -> str:
    """What follows the mark on the last line of a reply; Unreadable unless exactly one line begins with the mark.

    A judge's thoughts, up to the last `</think>`, are no part of its reply.
    """
    text = reply.rpartition("</think>")[2]
    if "<think>" in text:
        raise Unreadable("the judge did not finish thinking")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not lines[-1].startswith(mark):
        raise Unreadable(f"the reply does not end with a line {mark.strip()!r}: {_end(lines)!r}")
    name = mark.split(":")[0].casefold()
    marked = [line for line in lines if line.casefold().startswith(name) and line[len(name) :].lstrip().startswith(":")]
    if len(marked) > 1:
        raise Unreadable(f"the reply has {len(marked)} lines {mark.strip()!r}: {' / '.join(marked)[:200]!r}")
    return lines[-1].removeprefix(mark)


def _end(lines: Sequence[str]) -> str:
    return lines[-1][-200:] if lines else ""
