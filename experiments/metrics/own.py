"""`@metric`: a metric of a user's own, written as a reward is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, overload

import numpy as np

from groundrl.experiments.metrics import METRICS
from groundrl.experiments.metrics.metric import Metric, Value, mean_of
from groundrl.rewards import Completion, Example, Reference
from groundrl.rewards.expression import nearest

REFERENCE = tuple(each.name for each in fields(Reference) if each.name != "columns")


@overload
def metric(function: Value) -> Metric: ...
@overload
def metric(*, range: tuple[float, float] = (0.0, 1.0), reads: tuple[str, ...] = ()) -> Callable[[Value], Metric]: ...
def metric(
    function: Value | None = None, *, range: tuple[float, float] = (0.0, 1.0), reads: tuple[str, ...] = ()
) -> Metric | Callable[[Value], Metric]:
    """Turn `(completion, example) -> float | None` into a metric of that range; None where it does not apply.

    Use as `@metric` or `@metric(range=(-1, 1))`. It is averaged over an example's samples, then over examples; its
    definition is the first line of its docstring. `reads`: fields of the reference (`("boxes",)`); a run on data that
    have none of them is refused before it starts. ValueError for a range that is not finite and ascending, a field that
    does not exist, or a value outside the range; TypeError for a value that is no number (text, a boolean, a list).
    """
    if function is not None:
        return _made(function, range, reads)
    return lambda function: _made(function, range, reads)


def _made(function: Value, range: tuple[float, float], reads: tuple[str, ...]) -> Metric:
    name, (lo, hi) = getattr(function, "__name__", repr(function)), range
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"metric {name!r}: a range is two finite numbers, low and high, got {range}")
    for field in reads:
        if field not in REFERENCE:
            raise ValueError(f"metric {name!r}: a reference has no {field!r}{nearest(field, REFERENCE)}")

    def value(completion: Completion, example: Example) -> float | None:
        found: object = function(completion, example)
        if found is None:
            return None
        what = f"metric {name!r} returned {found!r} for example {example.id!r}"
        if isinstance(found, bool | np.bool_ | str) or not isinstance(found, int | float | np.number):
            raise TypeError(f"{what}; return a float, or None where it does not apply")
        if not lo <= float(found) <= hi:
            raise ValueError(f"{what}, outside its declared range ({lo}, {hi})")
        return float(found)

    definition = (function.__doc__ or name).strip().splitlines()[0]
    return mean_of(value, definition, range=(lo, hi), reads=reads)


def described(metric: Metric) -> dict[str, Any]:
    """A user's metric as evaluation.json holds it: what it takes to show its figure and to compare two of them."""
    return {"definition": metric.definition, "range": list(metric.range)}


def recorded(content: Mapping[str, Any]) -> dict[str, Metric]:
    """All metrics of an evaluation.json by name: the registry's, and its user's, which measure nothing again."""
    own = {
        name: mean_of(lambda completion, example: None, each["definition"], range=tuple(each["range"]))
        for name, each in content.get("metrics", {}).items()
    }
    return {**METRICS, **own}
