"""What can be said of an arm from a handful of seeds: intervals, sign-flip p with Holm's correction, seeds needed.

`S` seeds, `M` arms, `B` blocks of test examples. A difference is an arm's value minus full's with the same seed.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from groundrl.rewards.core.intervals import LEVEL
from groundrl.rewards.core.intervals import t_interval as t_interval  # offered with the rest

ALPHA = 0.05
POWER = 0.8
EXACT_SEEDS = 12  # up to here every sign pattern is tried: 2^12
RANDOM_FLIPS = 9_999
RESAMPLES = 9_999
TOO_WIDE = 3.0  # a range of seeds whose ends differ by more than this factor plans nothing
MOST_SEEDS = 100_000


def hierarchical_interval(
    sums_SB: Float[np.ndarray, "S B"], counts_SB: Float[np.ndarray, "S B"]
) -> tuple[float, float] | None:
    """Percentile bootstrap (95 %) of the mean difference over seeds *and* blocks; None below two of either.

    `sums_SB`: a block's differences summed over its examples, `counts_SB` how many. All seeds are tested on the same
    blocks, so the two are crossed: a resample draws seeds, and blocks once for all of them (the pigeonhole bootstrap:
    Owen, Annals of Applied Statistics 1 (2007) 386). It covers other test data too, which the t interval does not;
    like every percentile bootstrap it is too narrow for few seeds: by a factor sqrt(2/3) of three.
    """
    seeds, blocks = sums_SB.shape
    if min(seeds, blocks) < 2:
        return None
    rng = np.random.default_rng(0)
    drawn_RS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES).astype(np.float64)
    drawn_RB = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES).astype(np.float64)
    sums, counts = (((drawn_RS @ table) * drawn_RB).sum(axis=1) for table in (sums_SB, counts_SB))
    means = sums[counts > 0] / counts[counts > 0]  # blocks may hold no example that the metric applies to
    low, high = np.percentile(means, (50 * (1 - LEVEL), 50 * (1 + LEVEL))).tolist()
    return low, high


def sign_flip_p(differences_S: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch"]:
    """Two-sided p of a mean difference of 0: the share of sign patterns whose |mean| is at least the one observed.

    Without an effect a seed's difference is as likely to be its negative (Fisher, The Design of Experiments, 1935, 21).
    Exact up to `EXACT_SEEDS`; beyond, random patterns with the observed one counted among them.
    """
    seeds = differences_S.shape[-1]
    if seeds <= EXACT_SEEDS:  # a pattern and its negative have the same |sum|: half of them, the first sign fixed
        flips = 1.0 - 2.0 * ((np.arange(2 ** (seeds - 1))[:, None] >> np.arange(seeds)) & 1)
        own = 0
    else:
        flips = np.random.default_rng(0).choice([-1.0, 1.0], size=(RANDOM_FLIPS, seeds))
        own = 1
    observed = np.abs(differences_S.sum(axis=-1))
    rounding = 1e-12 * np.abs(differences_S).sum(axis=-1)  # by which sums that are equal may differ
    as_far = np.abs(differences_S @ flips.T) >= (observed - rounding)[..., None]
    return np.asarray((as_far.sum(axis=-1) + own) / (len(flips) + own))


def smallest_p(seeds: int, *, arms: int = 1) -> float:
    """The smallest p (after Holm's correction over `arms`) that the sign-flip test can give at all."""
    patterns = 2.0 ** (seeds - 1) if seeds <= EXACT_SEEDS else RANDOM_FLIPS + 1.0
    return min(1.0, arms / patterns)


def seeds_for_any_p(arms: int) -> int:
    """The fewest seeds with which a p corrected over `arms` can fall below `ALPHA`: 6 for one arm."""
    return next(seeds for seeds in range(1, EXACT_SEEDS + 2) if smallest_p(seeds, arms=arms) < ALPHA)


def holm(p_M: Float[np.ndarray, "*batch M"]) -> Float[np.ndarray, "*batch M"]:
    """Holm's correction: the family-wise error stays below alpha (Scandinavian Journal of Statistics 6 (1979) 65).

    The k-th smallest of m is multiplied by m - k + 1, never falls below one before it, and is at most 1.
    """
    order = np.argsort(p_M, axis=-1, kind="stable")
    factors = np.arange(p_M.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(p_M, order, axis=-1) * factors, axis=-1)
    corrected = np.empty_like(p_M)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), axis=-1)
    return corrected


def cohens_dz(differences_S: Float[np.ndarray, " S"]) -> float | None:
    """Mean difference over its standard deviation (Bessel); None for one seed, or where all differ by the same."""
    if len(differences_S) < 2 or np.ptp(differences_S) <= 1e-9 * np.abs(differences_S).max():
        return None  # what spread there is comes from rounding
    return float(differences_S.mean() / differences_S.std(ddof=1))


def dz_interval(dz: float, seeds: int) -> tuple[float, float]:
    """The 95 % interval of d_z: d_z sqrt(S) is noncentral t with S - 1 degrees and noncentrality delta sqrt(S)."""
    from scipy.optimize import brentq
    from scipy.stats import nct

    if dz < 0:  # scipy's distribution fails on the side away from its centre
        low, high = dz_interval(-dz, seeds)
        return -high, -low
    observed = dz * math.sqrt(seeds)
    reach = 4 * observed + 10

    def centre(share: float) -> float:
        solved: float = brentq(lambda ncp: nct.cdf(observed, seeds - 1, ncp) - share, -reach, reach)
        return solved / math.sqrt(seeds)

    return centre((1 + LEVEL) / 2), centre((1 - LEVEL) / 2)


def power(dz: float, seeds: int) -> float:
    """The chance that a paired two-sided t test over so many seeds finds a true effect of d_z at `ALPHA`."""
    from scipy.stats import nct, t

    critical = t.ppf(1 - ALPHA / 2, seeds - 1)
    ncp = abs(dz) * math.sqrt(seeds)
    return float(nct.sf(critical, seeds - 1, ncp) + nct.sf(critical, seeds - 1, -ncp))


def seeds_needed(dz: float) -> int | None:
    """The fewest seeds with a power of 0.8 for d_z; None where that is more than `MOST_SEEDS`."""
    from scipy.stats import norm

    # The normal approximation asks for fewer, and for few fewer: go up from there.
    least = float((norm.ppf(1 - ALPHA / 2) + norm.ppf(POWER)) ** 2)
    if dz**2 * MOST_SEEDS < least:
        return None
    seeds: int = max(2, math.floor(least / dz**2))
    while power(dz, seeds) < POWER:
        seeds += 1
    return seeds


def seeds_range(interval: tuple[float, float]) -> tuple[int, int | None]:
    """The seeds needed at the two ends of an interval of d_z, fewest first; None is without bound."""
    low, high = sorted(abs(end) for end in interval)
    crosses = interval[0] <= 0 <= interval[1]
    fewest = seeds_needed(high)
    return (fewest or MOST_SEEDS), None if crosses else seeds_needed(low)


def too_wide(found: tuple[int, int | None], seeds: int) -> bool:
    """Whether a range of seeds is of no use for planning; from three seeds it always is."""
    return seeds <= 3 or found[1] is None or found[1] > TOO_WIDE * found[0]
