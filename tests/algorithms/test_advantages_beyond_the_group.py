"""Advantages that look at the whole batch, at parts of the reward, or at a critic's values."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrl.algorithms.advantages import ADVANTAGES
from groundrl.algorithms.advantages.gae import gae
from groundrl.algorithms.advantages.shared import batch_moments

reinforce_pp, gdpo = ADVANTAGES["reinforce_pp"], ADVANTAGES["gdpo"]


def test_gdpo_by_hand(make_window):
    """Two binary parts of weight 1 and 0.5, one group of four: a = 1, 1, 0, 0 and b = 1, 0, 0, 1.

    Each part: mean 1/2, std sqrt(1/3), so z = 0.5 / (0.577350 + 0.0001) = 0.865875 with either sign.
    S = z (1 + 0.5), z (1 - 0.5), -1.5 z, -0.5 z; mean 0, std = z sqrt((1.5^2 + 0.5^2) 2 / 3) = z sqrt(5/3).
    A = S / (std + 1e-4). The totals 1.5, 1, 0, 0.5 in one go would give the same order but other distances.
    """
    parts = {"a": torch.tensor([[1.0, 1.0, 0.0, 0.0]]), "b": torch.tensor([[1.0, 0.0, 0.0, 1.0]])}
    window = make_window([[1.5, 1.0, 0.0, 0.5]], parts=parts, weights={"a": 1.0, "b": 0.5})
    z = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    scale = z / (z * math.sqrt(5 / 3) + 1e-4)
    torch.testing.assert_close(gdpo(window)[:, 0], scale * torch.tensor([1.5, 0.5, -1.5, -0.5]))


def test_gdpo_tells_answers_of_one_total_apart(make_window):
    """Every total is 1, no variance for grpo: a = 1, 0, 0 and half of b = 0, 2, 2. Normalised, a is 1.15, -0.58, -0.58
    and b its negative: with half the weight b does not make up for a, for its scale no longer counts.
    """
    rewards = [[1.0, 1.0, 1.0]]
    parts = {"a": torch.tensor([[1.0, 0.0, 0.0]]), "b": torch.tensor([[0.0, 2.0, 2.0]])}
    assert not ADVANTAGES["grpo"](make_window(rewards)).any()
    advantages = gdpo(make_window(rewards, parts=parts, weights={"a": 1.0, "b": 0.5}))[:, 0]
    torch.testing.assert_close(advantages, torch.tensor([1.1547, -0.57735, -0.57735]), rtol=1e-3, atol=0)


def test_a_part_that_abstains_is_left_out(make_window):
    """b abstains on the last answer: its z are +-0.5 / (sqrt(1/2) + eps) for the other two, and 0 there."""
    parts = {"a": torch.tensor([[0.3, 0.3, 0.3]]), "b": torch.tensor([[1.0, 0.0, torch.nan]])}
    advantages = gdpo(make_window([[1.3, 0.3, 0.3]], parts=parts, weights={"a": 1.0, "b": 1.0}))[:, 0]
    assert advantages[2] == 0.0
    assert advantages[0] == -advantages[1] > 0.9


def test_reinforce_pp_by_hand(make_window):
    """Rewards 1, 0 | 0, 0 on 1, 2, 1 and 2 tokens: over the 6 tokens the mean is 1/6.

    std = sqrt(((5/6)^2 + 5 (1/6)^2) / 5) = sqrt(30/36/5) = sqrt(1/6) = 0.408248.
    A = (5/6) / (0.408248 + 0.0001) for the good answer, (-1/6) / ... for all others, the all-equal group as well.
    """
    advantages = reinforce_pp(make_window([[1.0, 0.0], [0.0, 0.0]], lengths=[1, 2, 1, 2]))
    std = math.sqrt(1 / 6) + 1e-4
    good, bad = 5 / 6 / std, -1 / 6 / std
    torch.testing.assert_close(advantages, torch.tensor([[good, 0.0], [bad, bad], [bad, 0.0], [bad, bad]]))


def test_reinforce_pp_takes_the_penalties_from_here_on(make_window):
    """One answer of 3 tokens, reward 1, penalties 0.1, 0.2, 0.4: returns 1 - 0.7, 1 - 0.6 and 1 - 0.4.

    Mean 0.433333, std = sqrt(sum of squares / 2) of -0.133333, -0.033333, 0.166667 = 0.152753.
    """
    window = make_window([[1.0]], lengths=[3], kl_penalty_NT=torch.tensor([[0.1, 0.2, 0.4]]))
    expected = torch.tensor([[-0.133333, -0.033333, 0.166667]]) / (0.152753 + 1e-4)
    torch.testing.assert_close(reinforce_pp(window), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rewards", [[[0.1, 0.1], [0.1, 0.1]], [[0.7]], [[None, None], [None, 0.3]], [[None]]])
def test_a_batch_of_equal_returns_has_exactly_0(make_window, rewards):
    advantages = reinforce_pp(make_window(rewards, lengths=[2] * sum(map(len, rewards))))
    assert torch.equal(advantages, torch.zeros_like(advantages))


@settings(max_examples=50)
@given(data=st.data(), rewards=st.lists(st.integers(-64, 64).map(lambda k: k / 8), min_size=2, max_size=8))
def test_reinforce_pp_ignores_shift_scale_and_order(make_window, data, rewards):
    order = data.draw(st.permutations(range(len(rewards))))
    lengths = [1 + k % 3 for k in range(len(rewards))]
    plain = reinforce_pp(make_window([rewards], lengths=lengths))
    assert abs(float(plain.double().sum())) < 1e-4
    shifted = reinforce_pp(make_window([[value + 3.5 for value in rewards]], lengths=lengths))
    torch.testing.assert_close(shifted, plain, rtol=0, atol=1e-5)
    scaled = reinforce_pp(make_window([[8 * value for value in rewards]], lengths=lengths))
    torch.testing.assert_close(scaled, plain, rtol=0.01, atol=1e-6)
    permuted = reinforce_pp(make_window([[rewards[k] for k in order]], lengths=[lengths[k] for k in order]))
    torch.testing.assert_close(permuted, plain[order], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cuts", [[3], [0, 2], [1, 4, 4, 9]])
def test_moments_of_ranks_are_those_of_all_values(make_window, cuts):
    """Each rank has a share, one has none; the formula puts them together whoever asks."""
    values = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e3
    shares = torch.tensor_split(values, cuts)
    vectors: list[torch.Tensor] = []
    for share in shares:
        batch_moments(share, make_window([[0.0]], gather=lambda vector: vectors.append(vector) or vector[None]))
    gather: Callable = lambda vector: torch.stack(vectors)  # noqa: E731
    mean, std = batch_moments(shares[0], make_window([[0.0]], gather=gather))
    assert mean == pytest.approx(values.mean().item(), rel=1e-14)
    assert std == pytest.approx(values.std().item(), rel=1e-10)


def slow_gae(rewards, values, *, discount, decay):
    """The definition, term by term: `A_t = sum over l of (discount decay)^l d_{t+l}`, for one completion."""
    count = len(rewards)
    after = [*values[1:], 0.0]
    d = [rewards[t] + discount * after[t] - values[t] for t in range(count)]
    return [sum((discount * decay) ** k * d[t + k] for k in range(count - t)) for t in range(count)]


@pytest.mark.parametrize(("discount", "decay"), [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("kl", [False, True], ids=["score", "score and penalty"])
def test_gae_is_its_definition(make_window, discount, decay, kl):
    """Ragged rows, whose padding holds garbage; the score comes with the last token."""
    draw = torch.Generator().manual_seed(0)
    lengths = [1, 4, 2, 3]
    values, penalty = torch.randn(2, 4, 4, generator=draw)
    rewards = [[1.0, 0.25], [-0.5, None]]
    window = make_window(rewards, lengths=lengths, values_NT=values, kl_penalty_NT=penalty if kl else None)
    advantages = gae(window, discount=discount, decay=decay)
    for row, (length, score) in enumerate(zip(lengths, [1.0, 0.25, -0.5, None], strict=True)):
        if score is None:
            assert not advantages[row].any()
            continue
        given = [0.0] * (length - 1) + [score]
        if kl:
            given = [reward - taken for reward, taken in zip(given, penalty[row].tolist(), strict=False)]
        expected = slow_gae(given, values[row, :length].tolist(), discount=discount, decay=decay)
        torch.testing.assert_close(advantages[row, :length], torch.tensor(expected), rtol=0, atol=1e-6)
        assert not advantages[row, length:].any()


def test_gae_steps_over_tokens_that_were_not_sampled(make_window):
    values = torch.tensor([[0.3, 77.0, -0.2]])
    window = make_window([[1.0]], lengths=[3], values_NT=values)
    window.completion_mask_NT[0, 1] = 0.0
    expected = slow_gae([0.0, 1.0], [0.3, -0.2], discount=1.0, decay=0.95)
    torch.testing.assert_close(gae(window), torch.tensor([[expected[0], 0.0, expected[1]]]))


def test_gae_with_a_perfect_critic_is_zero(make_window):
    """Where V is the score already before the last token, nothing is better or worse than expected."""
    advantages = gae(make_window([[0.75]], lengths=[3], values_NT=torch.full((1, 3), 0.75)))
    torch.testing.assert_close(advantages, torch.zeros(1, 3))


def test_gae_needs_a_critic(make_window):
    with pytest.raises(ValueError, match="advantage gae needs a critic's values for each token"):
        gae(make_window([[1.0, 0.0]]))


@pytest.mark.parametrize("name", list(ADVANTAGES))
def test_padding_changes_nothing(make_window, name):
    """Three more columns, longer than any completion, with garbage in what is given for each token."""
    lengths = [1, 3, 2, 2]
    values, penalty = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
    plain = make_window([[1.0, 0.0], [0.5, 0.25]], lengths=lengths, values_NT=values, kl_penalty_NT=penalty)
    wide = make_window(
        [[1.0, 0.0], [0.5, 0.25], [None, None]],
        lengths=[*lengths, 6, 6],
        values_NT=torch.nn.functional.pad(values, (0, 3, 0, 2), value=9.0),
        kl_penalty_NT=torch.nn.functional.pad(penalty, (0, 3, 0, 2), value=-9.0),
    )
    advantages = ADVANTAGES[name](wide)
    torch.testing.assert_close(advantages[:4, :3], ADVANTAGES[name](plain), rtol=0, atol=1e-6)
    assert not advantages[:, 3:].any()
    assert not advantages[4:].any()
