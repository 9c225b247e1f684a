"""Group-relative advantages: a value by hand, the edges, and the laws they obey."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrl.algorithms.advantages import ADVANTAGES

grpo = ADVANTAGES["grpo"]
# Multiples of 1/64 up to 8: sums and differences of a few of them are exact, so that a shift changes no bit.
exact = st.integers(-512, 512).map(lambda k: k / 64)
a_group = st.lists(exact, min_size=2, max_size=8)


def test_one_group_by_hand(make_window):
    """Rewards 1, 0, 0, 1: mean 1/2, deviations +-1/2, std = sqrt(4 * 1/4 / (4 - 1)) = sqrt(1/3) = 0.577350.

    A = +-0.5 / (0.577350 + 0.0001) = +-0.865875, the same on every token and 0 on padding.
    """
    advantages = grpo(make_window([[1.0, 0.0, 0.0, 1.0]], lengths=[1, 2, 3, 1]))
    a = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    assert a == pytest.approx(0.865875, abs=1e-6)
    torch.testing.assert_close(advantages, torch.tensor([[a, 0, 0], [-a, -a, 0], [-a, -a, -a], [a, 0, 0]]))


def test_groups_do_not_see_each_other(make_window):
    alone = grpo(make_window([[1.0, 0.0, 0.5]]))
    beside = grpo(make_window([[1.0, 0.0, 0.5], [900.0, -3.0, 7.0]]))
    assert torch.equal(beside[:3], alone)


@pytest.mark.parametrize("rewards", [[0.7], [0.1, 0.1, 0.1], [1e9, 1e9], [0.0] * 5])
def test_a_singleton_and_an_all_equal_group_have_exactly_0(make_window, rewards):
    assert torch.equal(grpo(make_window([rewards])), torch.zeros(len(rewards), 1))


def test_masked_completions_are_left_out_of_mean_and_deviation(make_window):
    with_gaps = grpo(make_window([[None, 1.0, 0.0, None, 0.25]]))
    assert torch.equal(with_gaps[[1, 2, 4]], grpo(make_window([[1.0, 0.0, 0.25]])))
    assert torch.equal(with_gaps[[0, 3]], torch.zeros(2, 1))


def test_one_valid_completion_learns_nothing(make_window):
    assert torch.equal(grpo(make_window([[None, 1.0, None]])), torch.zeros(3, 1))


@settings(max_examples=50, deadline=None)
@given(rewards=a_group)
def test_a_group_sums_to_zero(make_window, rewards):
    advantages = grpo(make_window([rewards]))
    assert abs(float(advantages.double().sum())) < 1e-5
    assert (len(set(rewards)) == 1) == (not advantages.any())


@settings(max_examples=50, deadline=None)
@given(rewards=a_group, shift=exact)
def test_a_shift_of_all_rewards_changes_nothing(make_window, rewards, shift):
    shifted = grpo(make_window([[value + shift for value in rewards]]))
    torch.testing.assert_close(shifted, grpo(make_window([rewards])), rtol=0, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), rewards=a_group)
def test_permuting_a_group_permutes_its_advantages(make_window, data, rewards):
    order = data.draw(st.permutations(range(len(rewards))))
    permuted = grpo(make_window([[rewards[k] for k in order]]))
    torch.testing.assert_close(permuted, grpo(make_window([rewards]))[order], rtol=0, atol=1e-6)
