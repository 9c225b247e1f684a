"""95 % intervals: Student's t over independent values (seeds), or over independent blocks of examples.

Never over examples that share a picture, a patient or a document: they repeat one another. Whatever is measured is a
function of sums over examples (a mean is a sum and a count, an F1 three counts, BLEU ten), so a block enters by its
sums alone. With few blocks a percentile bootstrap is too narrow: what it calls 95 % covers 84 % at 5 blocks, 88 % at 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

LEVEL = 0.95
FEWEST_BLOCKS = 5  # an interval over fewer is shown as not to be trusted
STEP = 1e-4  # by how much of a block's weight the slope of a statistic is taken
Statistic = Callable[[Float[np.ndarray, "*R S"]], Float[np.ndarray, "*R"]]


def ratio(sums_2: Float[np.ndarray, "*R 2"]) -> Float[np.ndarray, "*R"]:
    """The first sum over the second: a mean. nan where there is nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums_2[..., 0] / sums_2[..., 1])


def block_sums(statistics_NS: Float[np.ndarray, "N S"], blocks: Sequence[str]) -> Float[np.ndarray, "B S"]:
    """The sums over the examples of each block, blocks by name; N blocks' names."""
    names = {name: index for index, name in enumerate(sorted(set(blocks)))}
    sums = np.zeros((len(names), statistics_NS.shape[1]))
    np.add.at(sums, [names[block] for block in blocks], statistics_NS)
    return sums


def t_interval(values_S: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch 2"]:
    """Student's 95 % interval of the mean over the last axis; nan for a single value."""
    from scipy.special import stdtrit  # the quantile of `scipy.stats.t`, which takes a second to import

    count = values_S.shape[-1]
    if count < 2:
        return np.full((*values_S.shape[:-1], 2), np.nan)
    half = stdtrit(count - 1, (1 + LEVEL) / 2) * values_S.std(axis=-1, ddof=1) / math.sqrt(count)
    mean = values_S.mean(axis=-1)
    return np.stack([mean - half, mean + half], axis=-1)


def block_interval(sums_BS: Float[np.ndarray, "B S"], statistic: Statistic = ratio) -> list[float | None]:
    """`[lo, hi]` of a statistic of the blocks' sums; `[None, None]` for fewer than two, or where it is undefined.

    t with B - 1 degrees of freedom on the cluster-robust, linearised standard error `sqrt(B / (B - 1) sum_b d_b^2)`,
    where `d_b` is the statistic's slope in the weight of block b: `(sum_b - r count_b) / count` for a ratio r
    (Cochran, Sampling Techniques, 3rd edition, 1977, 6.4). The ends may lie outside the statistic's own range.
    """
    blocks = len(sums_BS)
    if blocks < 2:
        return [None, None]
    total = sums_BS.sum(axis=0)
    slopes_B = (statistic(total + STEP * sums_BS) - statistic(total - STEP * sums_BS)) / (2 * STEP)
    # All weights grown alike change no mean, so the slopes add up to 0; what they do not is rounding.
    low, high = t_interval(statistic(total) + blocks * (slopes_B - slopes_B.mean())).tolist()
    return [_number(low), _number(high)]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
