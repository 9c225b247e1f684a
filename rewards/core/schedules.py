"""Schedules as data: a number for each training step, printed, saved and compared like any other parameter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Goes in a straight line from `start` to `end` over the first `steps` steps, then stays at `end`."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a schedule takes at least 1 step, got {self.steps}")

    def __call__(self, step: int) -> float:
        """The value at this step, counted from 0."""
        return self.start + (self.end - self.start) * min(max(step, 0) / self.steps, 1.0)

    def __repr__(self) -> str:
        return f"linear({self.start!r}, {self.end!r}, {self.steps!r})"


def linear(start: float, end: float, steps: int) -> Schedule:
    """From `start` at step 0 to `end` at step `steps` in a straight line, then constant."""
    return Schedule(float(start), float(end), steps)


def value_at(value: float | Schedule, step: int) -> float:
    """A number as it is; a schedule at this step."""
    return value(step) if isinstance(value, Schedule) else value
