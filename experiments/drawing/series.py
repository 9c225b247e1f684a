"""What is drawn as a curve, without drawing it: the parts of a reward by name, and the stated smoothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SMOOTHING = 9  # steps of the centred moving average


def part_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The parts of the reward in rows of metrics.jsonl."""
    return sorted(
        {key.split("/")[1] for row in rows for key in row if key.startswith("reward/") and key.count("/") == 2}
    )


def smooth(values: Sequence[float], width: int = SMOOTHING) -> np.ndarray:
    """The centred moving average over `width` steps, over fewer at the ends; what is missing is left out."""
    array = np.array(values, dtype=np.float64)
    half = width // 2
    windows = [array[max(0, i - half) : i + half + 1] for i in range(len(array))]
    return np.array([np.nanmean(w) if np.isfinite(w).any() else np.nan for w in windows])
