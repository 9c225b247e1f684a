"""The numbers of an ablation: by hand, against scipy, by property, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evidence.statistics import simulate
from groundrl.experiments.ablation.statistics import (
    cohens_dz,
    dz_interval,
    hierarchical_interval,
    holm,
    power,
    seeds_for_any_p,
    seeds_needed,
    seeds_range,
    sign_flip_p,
    smallest_p,
    too_wide,
)

values = st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=2, max_size=9).map(np.array)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


def test_sign_flip_by_hand():
    # |sum| of 1, 2, 3 is 6: of the 8 patterns only +++ and --- reach it
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == 0.25
    # -1, 2, 3: |sum| 4 is reached by +++ 6, -++ 4 and their negatives; not by +-+ 2, ++- 0
    assert sign_flip_p(np.array([-1.0, 2.0, 3.0])) == 0.5
    assert sign_flip_p(np.zeros(4)) == 1.0
    # 0.1 + 0.2 - 0.3 is 5.6e-17, not 0: patterns that are equal but for rounding count as equal
    assert sign_flip_p(np.array([0.1, 0.2, -0.3])) == 1.0
    assert sign_flip_p(np.array([0.1, 0.1, 0.1, -0.3])) == 1.0


@given(values)
def test_sign_flip_is_scipys_permutation_test(x):
    x = np.round(x, 2)
    found = stats.permutation_test((x,), lambda y, axis: y.sum(axis=axis), permutation_type="samples", n_resamples=1000)
    assert sign_flip_p(x) == pytest.approx(found.pvalue)


def test_sign_flip_beyond_enumeration_is_close_and_never_zero():
    x = np.random.default_rng(3).normal(0.5, 1, 14)
    signs = 1 - 2 * ((np.arange(2**14)[:, None] >> np.arange(14)) & 1)
    assert sign_flip_p(x) == pytest.approx(np.mean(np.abs(signs @ x) >= abs(x.sum()) - 1e-9), abs=0.01)
    assert sign_flip_p(np.ones(30)) == pytest.approx(1 / 10_000)
    assert smallest_p(30) == pytest.approx(1 / 10_000)


def test_with_fewer_than_six_seeds_there_is_no_p_below_alpha():
    assert [smallest_p(seeds) for seeds in (1, 3, 5, 6, 8)] == [1.0, 0.25, 0.0625, 0.03125, 0.0078125]
    assert [float(sign_flip_p(np.ones(seeds))) for seeds in (1, 3, 5, 6, 8)] == [1.0, 0.25, 0.0625, 0.03125, 0.0078125]
    # after Holm over m arms m * 2^(1 - S) < 0.05: 6 arms need 8 seeds (0.047), 7 arms 9
    assert [seeds_for_any_p(arms) for arms in (1, 2, 6, 7)] == [6, 7, 8, 9]


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, then never below 0.06
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])


@given(p_values)
def test_holm_corrects_upwards_keeps_the_order_and_agrees_with_bonferroni_at_the_smallest(p):
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()
    assert corrected[p.argmin()] == min(1.0, p.min() * len(p))
    assert holm(np.stack([p, p]))[0] == pytest.approx(corrected)


def test_dz_and_its_interval():
    assert cohens_dz(np.array([1.0, 2.0, 3.0])) == 2.0
    assert cohens_dz(np.array([0.1, 0.1])) is None
    assert cohens_dz(np.array([1.0])) is None
    low, high = dz_interval(1.2, 8)
    # what the ends mean: with d_z there, a t at least as far is seen in 2.5 % of samples
    t = 1.2 * math.sqrt(8)
    assert stats.nct.sf(t, 7, low * math.sqrt(8)) == pytest.approx(0.025)
    assert stats.nct.cdf(t, 7, high * math.sqrt(8)) == pytest.approx(0.025)
    assert dz_interval(-1.2, 8) == pytest.approx((-high, -low))


def test_power_and_seeds_needed_against_a_published_table():
    # G*Power 3.1, paired t, two-sided, alpha 0.05, power 0.8: d_z 0.2, 0.5, 0.8, 1.2 need 199, 34, 15, 8
    assert [seeds_needed(dz) for dz in (0.2, 0.5, 0.8, 1.2)] == [199, 34, 15, 8]
    assert seeds_needed(-0.8) == 15
    assert power(0.5, 34) == pytest.approx(0.808, abs=1e-3)
    assert seeds_needed(1e-9) is None


@given(st.floats(0.05, 20))
def test_seeds_needed_is_the_fewest(dz):
    seeds = seeds_needed(dz)
    assert power(dz, seeds) >= 0.8
    assert seeds == 2 or power(dz, seeds - 1) < 0.8


def test_the_range_of_seeds_and_when_it_is_useless():
    assert seeds_range((-0.4, 2.7)) == (seeds_needed(2.7), None)
    assert seeds_range((0.5, 1.2)) == (8, 34)
    assert too_wide((8, 34), 20)
    assert too_wide((8, None), 20)
    assert not too_wide((8, 15), 20)
    assert too_wide((2, 4), 3), "three seeds never plan anything"
    assert all(too_wide(seeds_range(dz_interval(dz, 3)), 3) for dz in (0.1, 1.2, 5.0, 50.0))


def test_hierarchical_interval():
    rng = np.random.default_rng(0)
    seeds, blocks = rng.normal(size=(6, 1)), rng.normal(size=(1, 40))
    ones = np.ones((6, 40))
    # blocks that agree: only the seeds are left, and with them the plain bootstrap of six numbers
    low, high = hierarchical_interval(seeds * ones, ones)
    plain = stats.bootstrap((seeds[:, 0],), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert (low, high) == pytest.approx(tuple(plain.confidence_interval), abs=0.03)
    # seeds that agree: the blocks are drawn once for all seeds, so more seeds do not narrow it
    few, many = (hierarchical_interval(np.repeat(blocks, n, axis=0), np.ones((n, 40))) for n in (2, 50))
    assert few == pytest.approx(many, abs=0.03)
    assert few[1] - few[0] > 0.4
    assert hierarchical_interval(ones[:1], ones[:1]) is None
    assert hierarchical_interval(ones[:, :1], ones[:, :1]) is None
    # a block weighs by its examples
    assert hierarchical_interval(np.full((2, 2), [3.0, 1.0]), np.full((2, 2), [3.0, 1.0])) == pytest.approx((1, 1))


def test_simulated_sweeps_keep_what_the_statistics_promise():
    one, six = simulate(4000, 1, 8), simulate(4000, 6, 8)
    assert 0.03 <= six["false_positive_rate"] <= 0.06
    assert 0.03 <= one["false_positive_rate"] <= 0.06
    assert 0.93 <= six["coverage"] <= 0.97
    assert six["power_t"] >= 0.8
    assert simulate(50, 7, 8)["power_corrected_all"] == 0, "seven arms need nine seeds"
