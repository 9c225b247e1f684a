"""The objectives against values by hand and against TRL's own loss code."""

import math
import re
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrl.algorithms.objectives import OBJECTIVES, entropy_bonus
from groundrl.algorithms.objectives.shared import k1, k2, k3
from groundrl.algorithms.schema import ObjectiveSettings

LN = math.log
# Two completions of 2 and 1 tokens with ratios 1.5, 1 and 0.5 and advantages 1 and -1; old log-probs are -1.
#   token 1: min(1.5 * 1, 1.28 * 1) = 1.28, clipped; token 2: 1; token 3: min(0.5 * -1, 0.8 * -1) = -0.8, clipped
#   losses: -1.28, -1, +0.8
LOGPROBS = [[-1 + LN(1.5), -1.0], [-1 + LN(0.5), -77.0]]
MASK = [[1.0, 1.0], [1.0, 0.0]]
ADVANTAGES = [[1.0, 1.0], [-1.0, 0.0]]


def by_hand(learn_batch, *, ref=None, kl_coef=0.0, name):
    logprobs = torch.tensor(LOGPROBS, requires_grad=True)
    batch = learn_batch(torch.tensor(ADVANTAGES), torch.tensor(MASK), old=torch.full((2, 2), -1.0), ref=ref)
    loss, stats = OBJECTIVES[name](logprobs, batch, ObjectiveSettings(clip_low=0.2, clip_high=0.28, kl_coef=kl_coef))
    loss.backward()
    return loss.item(), logprobs.grad, stats


def test_dapo_by_hand(learn_batch):
    """(-1.28 - 1 + 0.8) / 3 tokens; only the unclipped token has a gradient, -ratio * A / 3 = -1/3."""
    loss, gradient, stats = by_hand(learn_batch, name="dapo")
    assert loss == pytest.approx(-1.48 / 3)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, -1 / 3], [0.0, 0.0]]))
    assert stats["clip_frac"] == 2  # summed over tokens
    assert stats["approx_kl"].item() == pytest.approx((0.5 - LN(1.5)) + 0 + (-0.5 - LN(0.5)))


def test_grpo_by_hand(learn_batch):
    """((-1.28 - 1) / 2 + 0.8 / 1) / 2 completions; the unclipped token is half of one of two: -1/4."""
    loss, gradient, _ = by_hand(learn_batch, name="grpo")
    assert loss == pytest.approx((-1.14 + 0.8) / 2)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, -1 / 4], [0.0, 0.0]]))


def test_the_kl_penalty_by_hand(learn_batch):
    """Reference = old policy, so d = -ln(ratio) and k3 = 1 / ratio - 1 + ln(ratio): 2/3 - 1 + ln 1.5, 0, 1 - ln 2."""
    kl = (2 / 3 - 1 + LN(1.5)) + 0 + (1 - LN(2))
    loss, _, stats = by_hand(learn_batch, ref=torch.full((2, 2), -1.0), kl_coef=0.5, name="dapo")
    assert stats["ref_kl"].item() == pytest.approx(kl, rel=1e-5)
    assert loss == pytest.approx((-1.48 + 0.5 * kl) / 3)


def test_ppo_by_hand(learn_batch):
    """As dapo: what differs is whose advantages it is given, and the bound where none is set."""
    loss, gradient, _ = by_hand(learn_batch, name="ppo")
    assert loss == pytest.approx(-1.48 / 3)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, -1 / 3], [0.0, 0.0]]))


def test_dr_grpo_by_hand(learn_batch):
    """The sum -1.28 - 1 + 0.8 over 2 completions of 11 tokens at most: -1.48 / 22."""
    loss, gradient, _ = by_hand(learn_batch, name="dr_grpo")
    assert loss == pytest.approx(-1.48 / 22)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, -1 / 22], [0.0, 0.0]]))


def test_gspo_by_hand(learn_batch):
    """s = exp(mean log-ratio): sqrt(1.5 * 1) = 1.224745, inside 0.8..1.28, and 0.5, clipped as a whole to 0.8.

    L = (-1.224745 + 0.8) / 2. d s / d logprob = s / 2 for each of the two tokens: gradient -1.224745 / 2 / 2.
    """
    loss, gradient, stats = by_hand(learn_batch, name="gspo")
    s = math.sqrt(1.5)
    assert loss == pytest.approx((-s + 0.8) / 2)
    torch.testing.assert_close(gradient, torch.tensor([[-s / 4, -s / 4], [0.0, 0.0]]))
    assert stats["clip_frac"] == 1  # the one token of the second completion


def test_cispo_by_hand(learn_batch):
    """Weights min(1.5, 1.28) = 1.28, 1 and 0.5; L = -sum(w A logprob) / 3, gradient -w A / 3: no token loses it."""
    logprobs = torch.tensor(LOGPROBS, requires_grad=True)
    batch = learn_batch(torch.tensor(ADVANTAGES), torch.tensor(MASK), old=torch.full((2, 2), -1.0))
    loss, stats = OBJECTIVES["cispo"](logprobs, batch, ObjectiveSettings(clip_high=1.28))
    loss.backward()
    expected = -(1.28 * (-1 + LN(1.5)) - 1 - 0.5 * (-1 + LN(0.5))) / 3
    assert loss.item() == pytest.approx(expected)
    torch.testing.assert_close(logprobs.grad, torch.tensor([[-1.28 / 3, -1 / 3], [0.5 / 3, 0.0]]))
    assert stats["clip_frac"] == 1


def test_dual_clip_by_hand(learn_batch):
    """Ratio 4. With A = -1, min(-4, -1.28) = -4, but with c = 3 no less than -3: loss 3 and no gradient.

    With A = 1 it changes nothing: min(4, 1.28) = 1.28. With ratio 2 and A = -1 it does not reach: -2, gradient 2.
    """
    logprobs = torch.tensor([[LN(4), LN(4), LN(2)]], requires_grad=True)
    batch = learn_batch(torch.tensor([[-1.0, 1.0, -1.0]]), torch.ones(1, 3), old=torch.zeros(1, 3))
    clipping = ObjectiveSettings(clip_low=0.2, clip_high=0.28, dual_clip=3.0)
    loss, stats = OBJECTIVES["dapo"](logprobs, batch, clipping)
    loss.backward()
    assert loss.item() == pytest.approx((3 - 1.28 + 2) / 3)
    torch.testing.assert_close(logprobs.grad, torch.tensor([[0.0, 0.0, 2 / 3]]))
    assert stats["clip_frac"] == 2


@pytest.mark.parametrize(
    ("correction", "weights"),
    [
        ("token_truncate", [[1.5, 0.5], [2.0, 0.0]]),
        ("token_mask", [[1.5, 0.5], [0.0, 0.0]]),
        ("sequence_truncate", [[0.75, 0.75], [2.0, 0.0]]),
        ("sequence_mask", [[0.75, 0.75], [0.0, 0.0]]),
    ],
)
def test_the_importance_correction_by_hand(learn_batch, correction, weights):
    """Trainer over sampler: 1.5 and 0.5, product 0.75, and 4, above the cap of 2. On-policy otherwise: l = -w A."""
    logprobs = torch.full((2, 2), -1.0, requires_grad=True)
    sampler = torch.tensor([[-1 - LN(1.5), -1 - LN(0.5)], [-1 - LN(4), 55.0]])
    batch = learn_batch(torch.tensor(ADVANTAGES), torch.tensor(MASK), sampler=sampler)
    settings = ObjectiveSettings(importance_correction=correction, importance_cap=2.0)
    loss, stats = OBJECTIVES["dapo"](logprobs, batch, settings)
    loss.backward()
    expected = -torch.tensor(weights) * torch.tensor(ADVANTAGES) / 3
    torch.testing.assert_close(logprobs.grad, expected)
    assert loss.item() == pytest.approx(expected.sum().item())
    assert stats["importance_weight"].item() == pytest.approx(torch.tensor(weights).sum().item())


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("dapo", 0.2, 0.28), ("grpo", 0.2, 0.2), ("dr_grpo", 0.2, 0.2), ("ppo", 0.2, 0.2), ("gspo", 3e-4, 4e-4)],
)
def test_bounds_that_are_not_set_are_the_papers(learn_batch, name, low, high):
    """Ratios a tenth inside and a tenth outside of each bound, each a completion of its own."""
    ratios = [1 - 0.9 * low, 1 - 1.1 * low, 1 + 0.9 * high, 1 + 1.1 * high]
    logprobs = torch.tensor(ratios).double().log()[:, None]
    advantages = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]]).double()
    batch = learn_batch(advantages, torch.ones(4, 1).double(), old=torch.zeros(4, 1).double())
    _, stats = OBJECTIVES[name](logprobs, batch, ObjectiveSettings())
    assert stats["clip_frac"] == 2


def test_cispos_largest_weight_is_5_where_it_is_not_set(learn_batch):
    logprobs = torch.tensor([[LN(4.9)], [LN(5.1)]], requires_grad=True)
    batch = learn_batch(torch.ones(2, 1), torch.ones(2, 1), old=torch.zeros(2, 1))
    OBJECTIVES["cispo"](logprobs, batch, ObjectiveSettings())[0].backward()
    torch.testing.assert_close(logprobs.grad, torch.tensor([[-4.9 / 2], [-5.0 / 2]]))


@pytest.mark.parametrize(
    ("kl_estimator", "kl"), [(None, 0.5 - LN(1.5)), ("k3", 0.5 - LN(1.5)), ("k2", LN(1.5) ** 2 / 2)]
)
def test_the_kl_of_a_loss_by_hand(learn_batch, kl_estimator, kl):
    """One token, d = log policy - log reference = -ln 1.5: k3 = exp(-d) - 1 + d = 1.5 - 1 - ln 1.5; k2 = d^2 / 2."""
    batch = learn_batch(torch.zeros(1, 1), torch.ones(1, 1), ref=torch.tensor([[-1 + LN(1.5)]]))
    settings = ObjectiveSettings(kl_coef=2.0, kl_estimator=kl_estimator)
    loss, stats = OBJECTIVES["dapo"](torch.tensor([[-1.0]]), batch, settings)
    assert loss.item() == pytest.approx(2 * kl, rel=1e-5)
    assert stats["ref_kl"].item() == pytest.approx(kl, rel=1e-5)


def test_a_kl_that_is_in_the_reward_is_not_in_the_loss(learn_batch):
    values, batch = random_batch(learn_batch, 0)
    in_reward, stats = OBJECTIVES["dapo"](values, batch, ObjectiveSettings(kl_coef=0.5, kl_in_reward=True))
    without, _ = OBJECTIVES["dapo"](values, batch, ObjectiveSettings())
    assert in_reward == without
    assert stats["ref_kl"] > 0


def test_which_kl_may_be_a_loss():
    """In expectation over the policy's own tokens the gradient of k1 is 0 and that of k2 the gradient of the KL."""
    logits = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    reference = torch.log_softmax(torch.arange(7.0).double(), dim=0)
    log_p = torch.log_softmax(logits, dim=0)
    (true,) = torch.autograd.grad((log_p.exp() * (log_p - reference)).sum(), logits, retain_graph=True)
    gradients = {}
    for estimate in (k1, k2, k3):
        expected = (log_p.detach().exp() * estimate(log_p[None], reference[None])[0]).sum()
        (gradients[estimate],) = torch.autograd.grad(expected, logits, retain_graph=True)
    assert gradients[k1].abs().max() < 1e-12
    torch.testing.assert_close(gradients[k2], true)
    kl = (log_p.exp() * (log_p - reference)).sum().item()
    for unbiased in (k1, k3):
        assert (log_p.exp() * unbiased(log_p[None], reference[None])[0]).sum().item() == pytest.approx(kl)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kl_estimator": "k1"}, "kl_estimator k1 is no loss, its expected gradient is 0: set kl_in_reward"),
        ({"kl_estimator": "k1", "kl_coef": 0.1}, "kl_estimator k1 is no loss"),
        ({"kl_estimator": "k2", "kl_in_reward": True}, "kl_in_reward uses k1, got kl_estimator k2"),
        ({"clip_low": 1.0}, "clip_low\n  Input should be less than 1"),
        ({"clip_high": -0.1}, "clip_high\n  Input should be greater than or equal to 0"),
        ({"dual_clip": 1.0}, "dual_clip\n  Input should be greater than 1"),
        ({"importance_cap": 0.9}, "importance_cap\n  Input should be greater than or equal to 1"),
        ({"entropy_coef": -1.0}, "entropy_coef\n  Input should be greater than or equal to 0"),
        ({"kl_coef": float("nan")}, "kl_coef\n  Input should be greater than or equal to 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ObjectiveSettings(**wrong)


def random_batch(learn_batch, seed, *, old=True, ref=True):
    """Six completions of 1 to 7 tokens whose ratios lie on both sides of both bounds."""
    draw = torch.Generator().manual_seed(seed)
    noise = lambda scale: scale * torch.randn(6, 7, generator=draw)  # noqa: E731
    logprobs = -3 + noise(1.0)
    lengths = torch.randint(1, 8, (6, 1), generator=draw)
    mask = (torch.arange(7) < lengths).float()
    advantages = torch.randn(6, 1, generator=draw) * mask
    return logprobs, learn_batch(
        advantages,
        mask,
        old=logprobs + noise(0.4) if old else None,
        ref=logprobs + noise(0.4) if ref else None,
        sampler=logprobs + noise(0.3),
    )


BOUNDS = {"clip_low": 0.2, "clip_high": 0.2}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("old", [True, False], ids=["old", "on-policy"])
@pytest.mark.parametrize(
    "terms",
    [
        BOUNDS,
        {"clip_low": 0.2, "clip_high": 0.28, "kl_coef": 0.04},
        {"clip_low": 0.05, "clip_high": 0.6, "kl_coef": 1.0, "kl_estimator": "k3"},
        {**BOUNDS, "dual_clip": 1.4},
        {**BOUNDS, "entropy_coef": 0.3},
        {**BOUNDS, "importance_correction": "token_truncate", "importance_cap": 1.2},
        {**BOUNDS, "importance_correction": "token_mask", "importance_cap": 1.2, "kl_coef": 0.1},
        {**BOUNDS, "importance_correction": "sequence_truncate", "importance_cap": 1.2},
        {**BOUNDS, "importance_correction": "sequence_mask", "importance_cap": 1.2},
    ],
    ids=lambda terms: "-".join(str(value) for value in terms.values()),
)
def test_value_and_gradient_are_trls(learn_batch, trl, name, old, terms):
    """Its conventions: no bias correction of the KL; cispo's `clip_high` is the largest weight itself; dr_grpo divides
    by completions times the maximal length; `delta` is the dual clip where it is above `1 + clip_high`; the entropy is
    a mean over tokens whatever the loss. gspo is its loss `grpo` with ratios of the sequence, ppo its `bnpo`.
    """
    if name == "cispo":
        terms = {**terms, "clip_high": 1 + terms["clip_high"]}
    clipping = ObjectiveSettings(**terms)
    for seed in range(3):
        values, batch = random_batch(learn_batch, seed, old=old, ref=clipping.kl_coef > 0)
        ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
        our_loss, _ = OBJECTIVES[name](ours, batch, clipping)
        if clipping.entropy_coef:  # any function of the log-probs does for an entropy here
            our_loss = our_loss - clipping.entropy_coef * entropy_bonus(ours.square(), batch)
        their_loss = trl.loss(name, theirs, batch, clipping, entropy=theirs.square())
        our_loss.backward()
        their_loss.backward()
        assert our_loss.item() == pytest.approx(their_loss.item(), abs=1e-6)
        assert theirs.grad.abs().max() > 0.005, "a gradient of zero would agree with anything"
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 5))
def test_micro_batches_add_up_to_the_whole_batch(learn_batch, all_terms, name, seed, size):
    """With the step's totals every micro-batch is a share of the step's mean: losses and gradients just add."""
    values, batch = random_batch(learn_batch, seed)
    whole = values.clone().requires_grad_()
    loss, stats = OBJECTIVES[name](whole, batch, all_terms)
    loss.backward()
    parts = values.clone().requires_grad_()
    sums, total = defaultdict(float), 0.0
    for start in range(0, 6, size):
        rows = slice(start, start + size)
        part = learn_batch(
            batch.advantages_NT[rows],
            batch.completion_mask_NT[rows],
            old=batch.old_logprobs_NT[rows],
            ref=batch.ref_logprobs_NT[rows],
            sampler=batch.sampler_logprobs_NT[rows],
            total_tokens=batch.total_tokens,
            total_completions=batch.total_completions,
        )
        part_loss, part_stats = OBJECTIVES[name](parts[rows], part, all_terms)
        part_loss.backward()
        total += part_loss.item()
        for key, value in part_stats.items():
            sums[key] += value.item()
    assert total == pytest.approx(loss.item(), abs=1e-6)
    torch.testing.assert_close(parts.grad, whole.grad, rtol=0, atol=1e-7)
    assert sums == pytest.approx({key: value.item() for key, value in stats.items()}, abs=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("garbage", [0.0, -1e4])
def test_padding_changes_nothing(learn_batch, all_terms, name, garbage):
    """Whatever stands in padded columns, even where the exponential of a difference would overflow."""
    values, batch = random_batch(learn_batch, 3)
    pad = lambda x, value: torch.nn.functional.pad(x, (0, 3), value=value)  # noqa: E731
    padded_batch = learn_batch(
        pad(batch.advantages_NT, 0.0),
        pad(batch.completion_mask_NT, 0.0),
        old=pad(batch.old_logprobs_NT, garbage / 2),
        ref=pad(batch.ref_logprobs_NT, -garbage / 3),
        sampler=pad(batch.sampler_logprobs_NT, garbage / 5),
    )
    plain, padded = values.clone().requires_grad_(), pad(values, garbage).requires_grad_()
    loss, stats = OBJECTIVES[name](plain, batch, all_terms)
    padded_loss, padded_stats = OBJECTIVES[name](padded, padded_batch, all_terms)
    loss.backward()
    padded_loss.backward()
    assert padded_loss.item() == pytest.approx(loss.item(), abs=5e-7)  # a longer row is summed in another order
    torch.testing.assert_close(padded.grad, pad(plain.grad, 0.0))
    assert {k: v.item() for k, v in padded_stats.items()} == pytest.approx({k: v.item() for k, v in stats.items()})


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_that_is_masked_whole_has_loss_and_gradient_zero(learn_batch, all_terms, name):
    values, batch = random_batch(learn_batch, 0)
    batch.completion_mask_NT = torch.zeros_like(batch.completion_mask_NT)
    values.requires_grad_()
    loss, _ = OBJECTIVES[name](values, batch, all_terms)
    loss.backward()
    assert loss.item() == 0.0
    assert not values.grad.any()


def test_a_small_kl_is_not_rounded_away():
    """d = 1e-4: d^2 / 2 = 5e-9, far below the rounding of exp(d) in float32."""
    assert k3(torch.tensor([[-1.0]]), torch.tensor([[-1.0 + 1e-4]])).item() == pytest.approx(5e-9, rel=0.01)
