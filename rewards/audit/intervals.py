"""Bootstrap intervals of what policies earn, over independent blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
_CHUNK = 100  # resamples at once: weights of [chunk, blocks]


def resampled(
    values_KE: Float[np.ndarray, "K E"], gold_E: Float[np.ndarray, " E"], blocks: Sequence[str], *, seed: int
) -> tuple[Float[np.ndarray, "R K"], Float[np.ndarray, "R K"]] | None:
    """Each policy's mean and gold's mean on the same examples, in resamples of the blocks; nan values are left out.

    None where there are fewer than two blocks.
    """
    names = sorted(set(blocks))
    if len(names) < 2:
        return None
    block_of = np.searchsorted(names, blocks)
    valid = ~np.isnan(values_KE) & ~np.isnan(gold_E)
    columns = (np.where(valid, values_KE, 0.0), np.where(valid, gold_E, 0.0), valid.astype(np.float64))
    sums, golds, counts = (_per_block(column, block_of, len(names)) for column in columns)
    rng = np.random.default_rng([seed, 4])
    means, shares = [], []
    for start in range(0, RESAMPLES, _CHUNK):
        size = min(_CHUNK, RESAMPLES - start)
        weights = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=size).astype(np.float64)
        number = weights @ counts
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold no example of a policy
            means.append(weights @ sums / number)
            shares.append(weights @ golds / number)
    return np.concatenate(means), np.concatenate(shares)


def interval(draws_R: Float[np.ndarray, " R"]) -> tuple[float, float] | None:
    """The central 95 % of the draws that are numbers."""
    draws = draws_R[np.isfinite(draws_R)]
    if not len(draws):
        return None
    low, high = np.percentile(draws, (2.5, 97.5)).tolist()
    return low, high


def _per_block(column_KE: np.ndarray, block_of: np.ndarray, blocks: int) -> np.ndarray:
    """Sums over the examples of each block, `[B, K]`."""
    total = np.zeros((blocks, len(column_KE)))
    np.add.at(total, block_of, column_KE.T)
    return total
