"""Student's interval by hand and against scipy; over blocks against the linearised ratio; simulated coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evidence.statistics import BLOCKS, coverage
from groundrl.rewards.core.intervals import block_interval, block_sums, ratio, t_interval

values = st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=2, max_size=9).map(np.array)


def test_t_interval_by_hand():
    # 1, 2, 3: mean 2, sd 1, se 1/sqrt(3) = 0.57735; t(0.975, 2) = 4.30265; half 2.48414
    assert t_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx([-0.48414, 4.48414], abs=1e-5)
    assert np.isnan(t_interval(np.array([1.0]))).all()


@given(values)
def test_t_interval_is_scipys(x):
    if np.ptp(x) > 1e-6:
        expected = stats.t.interval(0.95, len(x) - 1, loc=x.mean(), scale=stats.sem(x))
        assert t_interval(x) == pytest.approx(expected)
        assert t_interval(np.stack([x, x]))[1] == pytest.approx(expected)


def test_over_blocks_of_one_size_it_is_that_of_their_means():
    means = np.array([0.2, 0.5, 0.4, 0.9, 0.1])
    assert block_interval(np.stack([7 * means, np.full(5, 7.0)], axis=1)) == pytest.approx(t_interval(means), abs=1e-9)


def test_over_blocks_of_unequal_size_by_hand():
    # Sums 0, 1, 3 of 1, 2, 3 examples: r = 4/6. Residuals s - r n: -2/3, -1/3, 1, over the 6: -1/9, -1/18, 1/6.
    # Their squares add up to 14/324; se = sqrt(3/2 * 14/324) = 0.254588; times t(0.975, 2) = 4.302653: 1.095402.
    sums = np.array([[0.0, 1.0], [1.0, 2.0], [3.0, 3.0]])
    assert block_interval(sums) == pytest.approx([2 / 3 - 1.095402, 2 / 3 + 1.095402], abs=1e-6)


def test_of_any_statistic_it_is_the_delta_methods():
    """The F1 `2h / (s + t)`: its gradient is 2 / (s + t) for hits and -2h / (s + t)^2 for said and true."""
    rng = np.random.default_rng(0)
    sums = np.stack([rng.integers(1, 9, 12), rng.integers(9, 20, 12), rng.integers(9, 20, 12)], axis=1).astype(float)
    hits, said, true = sums.sum(axis=0)
    slopes = sums @ np.array([2 / (said + true), *[-2 * hits / (said + true) ** 2] * 2])
    half = stats.t.ppf(0.975, 11) * np.sqrt(12 / 11 * (slopes**2).sum())
    middle = 2 * hits / (said + true)
    found = block_interval(sums, lambda s: ratio(np.stack([2 * s[..., 0], s[..., 1] + s[..., 2]], axis=-1)))
    assert found == pytest.approx([middle - half, middle + half], abs=1e-7)


def test_copies_of_an_example_say_nothing_more():
    few = np.array([[0.1, 1.0], [0.5, 1.0], [0.4, 1.0]])
    blocks = [name for name in "abc" for _ in range(50)]
    assert block_interval(block_sums(np.repeat(few, 50, axis=0), blocks)) == pytest.approx(block_interval(few))


@pytest.mark.parametrize("sums", [np.ones((1, 2)), np.zeros((4, 2)), np.ones((0, 2))])
def test_without_two_blocks_or_anything_measured_there_is_none(sums):
    assert block_interval(sums) == [None, None]


@pytest.mark.parametrize("blocks", BLOCKS)
def test_ninety_five_percent_covers_what_it_says(blocks):
    """Blocks of 8 to 32 examples. A percentile bootstrap covers .84, .88, .91 and .93."""
    assert 0.93 <= coverage(blocks, tries=2_000) <= 0.97
