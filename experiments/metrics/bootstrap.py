"""95 % intervals: the percentile bootstrap over independent blocks, never over overlapping crops of one image.

Whatever is measured is a function of sums over examples (a mean is a sum and a count, an F1 three counts, BLEU ten),
so a resample of the blocks is a resample of their sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 9_999
AT_ONCE = 2**22  # block indices drawn at a time: bounds the memory
Statistic = Callable[[Float[np.ndarray, "*R S"]], Float[np.ndarray, "*R"]]


def ratio(sums_2: Float[np.ndarray, "*R 2"]) -> Float[np.ndarray, "*R"]:
    """The first sum over the second: a mean. nan where there is nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums_2[..., 0] / sums_2[..., 1])


def block_sums(statistics_NS: Float[np.ndarray, "N S"], blocks: Sequence[str]) -> Float[np.ndarray, "B S"]:
    """The sums over the examples of each block, blocks by name; N blocks' names."""
    names = {name: place for place, name in enumerate(sorted(set(blocks)))}
    sums = np.zeros((len(names), statistics_NS.shape[1]))
    np.add.at(sums, [names[block] for block in blocks], statistics_NS)
    return sums


def interval(sums_BS: Float[np.ndarray, "B S"], figure: Statistic = ratio) -> list[float | None]:
    """`[lo, hi]` of a figure of the sums, resampling the B blocks; `[None, None]` for fewer than two."""
    from scipy.stats import bootstrap

    count = len(sums_BS)
    if count < 2:
        return [None, None]

    def resampled(drawn: Int[np.ndarray, "*R B"], axis: int) -> Float[np.ndarray, "*R"]:
        rows = np.moveaxis(drawn, axis, -1).reshape(-1, count)
        times = np.zeros((len(rows), count))  # how often each block was drawn: their sums are then one product
        np.add.at(times, (np.arange(len(rows))[:, None], rows), 1.0)
        return figure(times @ sums_BS).reshape(np.moveaxis(drawn, axis, -1).shape[:-1])

    found = bootstrap(
        (np.arange(count),),
        resampled,
        n_resamples=RESAMPLES,
        batch=max(1, AT_ONCE // count),
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return [_number(found.low), _number(found.high)]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
