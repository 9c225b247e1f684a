"""Advantages relative to the group: values by hand, TRL's own, the edges, and the laws they obey."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrl.algorithms.advantages import ADVANTAGES

GROUP_RELATIVE = ["grpo", "dr_grpo", "rloo", "gdpo"]
# Multiples of 1/64 up to 8: sums and differences of a few of them are exact, so that a shift changes no bit.
exact = st.integers(-512, 512).map(lambda k: k / 64)
a_group = st.lists(exact, min_size=2, max_size=8)
each_estimator = pytest.mark.parametrize("name", GROUP_RELATIVE)


def test_one_group_by_hand(make_window):
    """Rewards 1, 0, 0, 1: mean 1/2, deviations +-1/2, std = sqrt(4 * 1/4 / (4 - 1)) = sqrt(1/3) = 0.577350.

    grpo: A = +-0.5 / (0.577350 + 0.0001) = +-0.865875; dr_grpo: +-0.5; rloo: 1 - (0 + 0 + 1)/3 = 2/3 and 0 - 2/3;
    the same on every token and 0 on padding.
    """
    a = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    assert a == pytest.approx(0.865875, abs=1e-6)
    for name, a in (("grpo", a), ("dr_grpo", 0.5), ("rloo", 2 / 3)):  # noqa: B020
        advantages = ADVANTAGES[name](make_window([[1.0, 0.0, 0.0, 1.0]], lengths=[1, 2, 3, 1]))
        torch.testing.assert_close(advantages, torch.tensor([[a, 0, 0], [-a, -a, 0], [-a, -a, -a], [a, 0, 0]]))


def test_a_kl_in_the_reward_lowers_rloos_rewards(make_window):
    """Rewards 1 and 0; penalties over the tokens 0.1 + 0.2 and 0.4 (0.8 is padding): 0.7 - (-0.4) = 1.1."""
    penalty = torch.tensor([[0.1, 0.2], [0.4, 0.8]])
    advantages = ADVANTAGES["rloo"](make_window([[1.0, 0.0]], lengths=[2, 1], kl_penalty_NT=penalty))
    torch.testing.assert_close(advantages, torch.tensor([[1.1, 1.1], [-1.1, 0.0]]))


def random_rewards(seed: int, *, missing: bool) -> torch.Tensor:
    """Five groups of four, the last one all equal; some completions have no score."""
    draw = torch.Generator().manual_seed(seed)
    rewards = torch.rand(5, 4, generator=draw)
    rewards[-1] = 0.25
    if missing:
        rewards[0, 1] = rewards[2, 0] = rewards[2, 3] = torch.nan
    return rewards


@pytest.mark.parametrize("missing", [False, True], ids=["all scored", "some missing"])
@pytest.mark.parametrize(("name", "scale"), [("grpo", "group"), ("dr_grpo", "none")])
def test_values_are_trls(make_window, trl, name, scale, missing):
    for seed in range(5):
        rewards = random_rewards(seed, missing=missing)
        ours = ADVANTAGES[name](make_window(rewards_as_lists(rewards)))
        theirs = trl.grpo_advantages(
            rewards.reshape(-1, 1), torch.ones(1), 4, scale=scale, aggregation="sum_then_normalize"
        )
        assert theirs.abs().max() > 0.1
        torch.testing.assert_close(ours[:, 0], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("missing", [False, True], ids=["all scored", "some missing"])
@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_rloo_is_trls(make_window, trl, kl_coef, missing):
    """There the penalty is `beta (old - ref)`, summed over the completion, as ours is."""
    for seed in range(5):
        rewards = random_rewards(seed, missing=missing)
        old, ref = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(seed))
        more = {"kl_penalty_NT": kl_coef * (old - ref)} if kl_coef else {}
        window = make_window(rewards_as_lists(rewards), lengths=[1, 2, 3, 2] * 5, **more)
        mask = (torch.arange(3) < torch.tensor([1, 2, 3, 2] * 5)[:, None]).float()
        theirs = trl.rloo_advantages(rewards.flatten(), 4, beta=kl_coef, old=old, ref=ref, mask=mask)
        torch.testing.assert_close(ADVANTAGES["rloo"](window)[:, 0], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("missing", [False, True], ids=["no part abstains", "some abstain"])
def test_gdpo_is_trls_normalise_then_sum(make_window, trl, missing):
    for seed in range(5):
        parts = torch.stack([random_rewards(seed, missing=missing), random_rewards(seed + 100, missing=False)])
        weights = torch.tensor([0.7, -0.2])
        window = make_window(
            rewards_as_lists((weights[:, None, None] * parts.nan_to_num(0.0)).sum(dim=0)),
            parts={"a": parts[0], "b": parts[1]},
            weights={"a": 0.7, "b": -0.2},
        )
        theirs = trl.grpo_advantages(
            parts.reshape(2, -1).T, weights, 4, scale="group", aggregation="normalize_then_sum"
        )
        torch.testing.assert_close(ADVANTAGES["gdpo"](window)[:, 0], theirs, rtol=0, atol=1e-6)


def rewards_as_lists(rewards: torch.Tensor) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in rewards.tolist()]


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
def test_groups_do_not_see_each_other(make_window, name):
    alone = ADVANTAGES[name](make_window([[1.0, 0.0, 0.5]]))
    beside = ADVANTAGES[name](make_window([[1.0, 0.0, 0.5], [900.0, -3.0, 7.0]]))
    assert torch.equal(beside[:3], alone)


@each_estimator
@pytest.mark.parametrize("rewards", [[0.7], [0.1, 0.1, 0.1], [1e9, 1e9], [0.0] * 5, [1 / 3] * 7, [0.7] * 49])
def test_a_singleton_and_an_all_equal_group_have_exactly_0(make_window, name, rewards):
    zeros = torch.zeros(len(rewards), 1)
    assert torch.equal(ADVANTAGES[name](make_window([rewards])), zeros)
    beside = ADVANTAGES[name](make_window([rewards, [0.1 * k for k in range(len(rewards))]]))
    assert torch.equal(beside[: len(rewards)], zeros)


@each_estimator
def test_masked_completions_are_left_out_of_mean_and_deviation(make_window, name):
    with_gaps = ADVANTAGES[name](make_window([[None, 1.0, 0.0, None, 0.25]]))
    assert torch.equal(with_gaps[[1, 2, 4]], ADVANTAGES[name](make_window([[1.0, 0.0, 0.25]])))
    assert torch.equal(with_gaps[[0, 3]], torch.zeros(2, 1))


@each_estimator
def test_one_valid_completion_learns_nothing(make_window, name):
    assert torch.equal(ADVANTAGES[name](make_window([[None, 1.0, None]])), torch.zeros(3, 1))


@each_estimator
@settings(max_examples=50)
@given(rewards=a_group)
def test_a_group_sums_to_zero(make_window, name, rewards):
    advantages = ADVANTAGES[name](make_window([rewards]))
    assert abs(float(advantages.double().sum())) < 2e-5
    assert (len(set(rewards)) == 1) == (not advantages.any())


@each_estimator
@settings(max_examples=50)
@given(rewards=a_group, shift=exact)
def test_a_shift_of_all_rewards_changes_nothing(make_window, name, rewards, shift):
    shifted = ADVANTAGES[name](make_window([[value + shift for value in rewards]]))
    torch.testing.assert_close(shifted, ADVANTAGES[name](make_window([rewards])), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["grpo", "gdpo"])
@settings(max_examples=50)
@given(rewards=a_group, scale=st.floats(0.25, 1000.0))
def test_scaling_all_rewards_leaves_normalised_advantages(make_window, name, rewards, scale):
    """Up to the eps of 1e-4 beside the standard deviation, here at least 1/64/sqrt(8), so at most 2 %."""
    scaled = ADVANTAGES[name](make_window([[value * scale for value in rewards]]))
    torch.testing.assert_close(scaled, ADVANTAGES[name](make_window([rewards])), rtol=0.08, atol=1e-6)


def test_what_is_declared_scale_free_is_and_nothing_else(make_window):
    """Rewards times 1000; the critic's estimator is given values of 0."""
    for name, estimator in ADVANTAGES.items():
        one, other = (
            estimator(make_window([[r * scale for r in (1.0, 0.0, 0.5)]], values_NT=torch.zeros(3, 1)))
            for scale in (1.0, 1000.0)
        )
        assert torch.allclose(one, other, rtol=0.01) == estimator.scale_free, name


@each_estimator
@settings(max_examples=50)
@given(data=st.data(), rewards=a_group)
def test_permuting_a_group_permutes_its_advantages(make_window, name, data, rewards):
    order = data.draw(st.permutations(range(len(rewards))))
    permuted = ADVANTAGES[name](make_window([[rewards[k] for k in order]]))
    torch.testing.assert_close(permuted, ADVANTAGES[name](make_window([rewards]))[order], rtol=0, atol=1e-6)
