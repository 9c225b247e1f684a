"""`@metric`: a metric of a user's own, written as a reward is."""

from __future__ import annotations

import math
from collections.abc import Callable

from groundrl.experiments.metrics.metric import Metric, Value, mean_of
from groundrl.rewards import Completion, Example


def metric(*, range: tuple[float, float] = (0.0, 1.0)) -> Callable[[Value], Metric]:
    """Turn `(completion, example) -> float | None` into a metric; None where it does not apply.

    ValueError for a range that is not finite and ascending, or for a value outside it; TypeError for no number.
    """
    lo, hi = range
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"a metric's range must be two finite numbers, low and high, got {range}")

    def made(function: Value) -> Metric:
        def value(completion: Completion, example: Example) -> float | None:
            found = function(completion, example)
            if found is None:
                return None
            what = f"metric {function.__name__!r} returned {found!r} for example {example.id!r}"
            if isinstance(found, bool | str) or not hasattr(found, "__float__"):
                raise TypeError(f"{what}; return a float, or None where it does not apply")
            if not lo <= float(found) <= hi:
                raise ValueError(f"{what}, outside its declared range ({lo}, {hi})")
            return float(found)

        definition = (function.__doc__ or function.__name__).strip().splitlines()[0]
        return mean_of(value, definition, percent=(lo, hi) == (0, 1))

    return made
