"""Schedules of the learning rate: the factor on it at a step, after a linear warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

ScheduleName = Literal["cosine", "linear", "constant"]


def cosine(step: int, *, steps: int, warmup: int) -> float:
    """The factor at `step` (from 0): linear up over `warmup` steps, then a half cosine to 0."""
    return _warming(step, warmup) or 0.5 * (1 + math.cos(math.pi * _progress(step, steps, warmup)))


def linear(step: int, *, steps: int, warmup: int) -> float:
    """The factor at `step` (from 0): linear up over `warmup` steps, then linear down to 0."""
    return _warming(step, warmup) or 1 - _progress(step, steps, warmup)


def constant(step: int, *, steps: int, warmup: int) -> float:
    """The factor at `step` (from 0): linear up over `warmup` steps, then 1."""
    return _warming(step, warmup) or 1.0


SCHEDULES: dict[ScheduleName, Callable[..., float]] = {"cosine": cosine, "linear": linear, "constant": constant}


def _warming(step: int, warmup: int) -> float:
    """The factor while warming up, which is above 0; then 0."""
    return (step + 1) / warmup if step < warmup else 0.0


def _progress(step: int, steps: int, warmup: int) -> float:
    return min(1.0, (step - warmup) / max(1, steps - warmup))
