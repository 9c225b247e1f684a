"""The objectives against values by hand and against TRL's own loss code."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trl.trainer.grpo_trainer import GRPOTrainer

from groundrl.algorithms.objectives import OBJECTIVES, ObjectiveSettings

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


def trl_loss(name, logprobs, batch, clipping):
    """`GRPOTrainer._compute_loss` as installed, on given log-probs: only what it reads from the trainer is faked."""
    mask = batch.completion_mask_NT
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(mask), None),
        loss_type=name,
        epsilon_low=clipping.clip_low,
        epsilon_high=clipping.clip_high,
        beta=clipping.kl_coef,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        importance_sampling_level="token",
        current_gradient_accumulation_steps=1,
        model=SimpleNamespace(training=True),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
    )
    inputs = {
        "prompt_ids": torch.zeros(len(mask), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(mask), 1),
        "completion_ids": torch.zeros(mask.shape, dtype=torch.long),
        "completion_mask": mask,
        "advantages": batch.advantages_NT,
        "num_items_in_batch": mask.sum(),
    }
    if batch.old_logprobs_NT is not None:
        inputs["old_per_token_logps"] = batch.old_logprobs_NT
    if batch.ref_logprobs_NT is not None:
        inputs["ref_per_token_logps"] = batch.ref_logprobs_NT
    return GRPOTrainer._compute_loss(trainer, None, inputs)


def random_batch(learn_batch, seed, *, old=True, ref=True):
    """Six completions of 1 to 7 tokens whose ratios lie on both sides of both bounds."""
    draw = torch.Generator().manual_seed(seed)
    noise = lambda scale: scale * torch.randn(6, 7, generator=draw)  # noqa: E731
    logprobs = -3 + noise(1.0)
    lengths = torch.randint(1, 8, (6, 1), generator=draw)
    mask = (torch.arange(7) < lengths).float()
    advantages = torch.randn(6, 1, generator=draw) * mask
    return logprobs, learn_batch(
        advantages, mask, old=logprobs + noise(0.4) if old else None, ref=logprobs + noise(0.4) if ref else None
    )


@pytest.mark.parametrize("name", ["dapo", "grpo"])
@pytest.mark.parametrize("old", [True, False], ids=["old", "on-policy"])
@pytest.mark.parametrize(
    "clipping",
    [
        ObjectiveSettings(clip_low=0.2, clip_high=0.2),
        ObjectiveSettings(clip_low=0.2, clip_high=0.28, kl_coef=0.04),
        ObjectiveSettings(clip_low=0.05, clip_high=0.6, kl_coef=1.0),
    ],
    ids=["symmetric", "clip-higher with kl", "other bounds and more kl"],
)
def test_value_and_gradient_are_trls(learn_batch, name, old, clipping):
    for seed in range(5):
        values, batch = random_batch(learn_batch, seed, old=old, ref=clipping.kl_coef > 0)
        ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
        our_loss, _ = OBJECTIVES[name](ours, batch, clipping)
        their_loss = trl_loss(name, theirs, batch, clipping)
        our_loss.backward()
        their_loss.backward()
        assert our_loss.item() == pytest.approx(their_loss.item(), abs=1e-6)
        assert theirs.grad.abs().max() > 0.01, "a gradient of zero would agree with anything"
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 5))
def test_micro_batches_add_up_to_the_whole_batch(learn_batch, with_kl, name, seed, size):
    """With the step's totals every micro-batch is a share of the step's mean: losses and gradients just add."""
    values, batch = random_batch(learn_batch, seed)
    whole = values.clone().requires_grad_()
    loss, stats = OBJECTIVES[name](whole, batch, with_kl)
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
            total_tokens=batch.total_tokens,
            total_completions=batch.total_completions,
        )
        part_loss, part_stats = OBJECTIVES[name](parts[rows], part, with_kl)
        part_loss.backward()
        total += part_loss.item()
        for key, value in part_stats.items():
            sums[key] += value.item()
    assert total == pytest.approx(loss.item(), abs=1e-6)
    torch.testing.assert_close(parts.grad, whole.grad, rtol=0, atol=1e-7)
    assert sums == pytest.approx({key: value.item() for key, value in stats.items()}, abs=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("garbage", [0.0, -1e4])
def test_padding_changes_nothing(learn_batch, with_kl, name, garbage):
    """Whatever stands in padded columns, even where the exponential of a difference would overflow."""
    values, batch = random_batch(learn_batch, 3)
    pad = lambda x, value: torch.nn.functional.pad(x, (0, 3), value=value)  # noqa: E731
    padded_batch = learn_batch(
        pad(batch.advantages_NT, 0.0),
        pad(batch.completion_mask_NT, 0.0),
        old=pad(batch.old_logprobs_NT, garbage / 2),
        ref=pad(batch.ref_logprobs_NT, -garbage / 3),
    )
    plain, padded = values.clone().requires_grad_(), pad(values, garbage).requires_grad_()
    loss, stats = OBJECTIVES[name](plain, batch, with_kl)
    padded_loss, padded_stats = OBJECTIVES[name](padded, padded_batch, with_kl)
    loss.backward()
    padded_loss.backward()
    assert padded_loss.item() == pytest.approx(loss.item(), abs=1e-7)
    torch.testing.assert_close(padded.grad, pad(plain.grad, 0.0))
    assert {k: v.item() for k, v in padded_stats.items()} == pytest.approx({k: v.item() for k, v in stats.items()})


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_that_is_masked_whole_has_loss_and_gradient_zero(learn_batch, with_kl, name):
    values, batch = random_batch(learn_batch, 0)
    batch.completion_mask_NT = torch.zeros_like(batch.completion_mask_NT)
    values.requires_grad_()
    loss, _ = OBJECTIVES[name](values, batch, with_kl)
    loss.backward()
    assert loss.item() == 0.0
    assert not values.grad.any()
