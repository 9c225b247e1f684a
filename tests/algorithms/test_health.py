"""Each warning on metrics that call for it and on metrics that do not, and the preflight on a real policy."""

import math
import re

import pytest
import torch

from groundrl.algorithms.generators import generator_state
from groundrl.algorithms.health import CHECKS, FIRST, LATEST, QUIET, Watch, warnings_of
from groundrl.algorithms.preflight import Preflight, memory_estimate, preflight
from groundrl.algorithms.schema import ObjectiveSettings
from groundrl.algorithms.settings import RLSettings
from groundrl.rewards import Completion, Example, Reward, reward
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling

# The quickstart's first and last steps: a healthy run whose entropy falls to 0.4 of its start.
BEGAN = {"entropy": 0.34, "completion_length/mean": 47.6, "groups/zero_variance": 1.4, "groups/informative": 14.6}
NOW = {"entropy": 0.147, "completion_length/mean": 36.0, "groups/zero_variance": 3.2, "groups/informative": 12.8}
ALWAYS = {"approx_kl": 1e-3, "ref_kl": 0.05, "clip_frac": 0.02, "sampler_gap": 1e-5, "updates/skipped": 0.0}
ALWAYS |= {"completions/truncated": 0.02}

# name -> what the last steps are, what they almost are, and words of the message
CASES = {
    "entropy_collapse": ({"entropy": 0.06}, {"entropy": 0.07}, r"from 0\.34 to 0\.06 .* clip_high"),
    "zero_variance": (
        {"groups/zero_variance": 13.0, "groups/informative": 3.0},
        {"groups/zero_variance": 11.0, "groups/informative": 5.0},
        "81% of the groups .* dynamic_sampling",
    ),
    "kl_runaway": ({"approx_kl": 0.12}, {"approx_kl": 0.08}, r"0\.12 nats .* fewer epochs"),
    "kl_runaway of the reference": ({"ref_kl": 1.5}, {"ref_kl": 0.9}, r"1\.5 nats .* kl_coef"),
    "length_explosion": ({"completion_length/mean": 96.0}, {"completion_length/mean": 90.0}, "from 48 to 96 tokens"),
    "length_explosion of stumps": ({"completions/truncated": 0.6}, {"completions/truncated": 0.4}, "60% .* Overlong"),
    "clipped_share": ({"clip_frac": 0.4}, {"clip_frac": 0.2}, "40% of the tokens .* lower lr"),
    "sampler_gap": ({"sampler_gap": 0.2}, {"sampler_gap": 0.1}, r"up to 0\.2 .* importance_correction"),
    "skipped_update": ({"updates/skipped": 2.0}, {"updates/skipped": 0.0}, r"2 update\(s\) skipped"),
}


def test_every_check_has_a_case():
    assert {name.partition(" ")[0] for name in CASES} == set(CHECKS)


@pytest.mark.parametrize("case", CASES)
def test_a_warning_is_given_where_its_metrics_call_for_it_and_only_there(case):
    ill, almost, words = CASES[case]
    first = [BEGAN | ALWAYS] * FIRST
    healthy = [NOW | ALWAYS] * LATEST
    assert warnings_of(first, healthy) == []
    assert warnings_of(first, [row | almost for row in healthy]) == []
    (warning,) = warnings_of(first, [row | ill for row in healthy])
    assert warning.name == case.partition(" ")[0]
    assert re.search(words, warning.message)


def test_one_step_is_no_trend():
    """A single noisy step says nothing, nor do the first steps; a gap or a skipped update is said at once."""
    first, healthy = [BEGAN | ALWAYS] * FIRST, [NOW | ALWAYS] * LATEST
    noisy = NOW | ALWAYS | {"clip_frac": 0.9, "completions/truncated": 0.9, "approx_kl": 0.4}
    assert warnings_of(first, [*healthy[1:], noisy]) == []
    bad = {"clip_frac": 0.9, "entropy": 0.0, "sampler_gap": 1.0, "updates/skipped": 1.0}
    assert [w.name for w in warnings_of([BEGAN], [BEGAN | bad])] == ["sampler_gap", "skipped_update"]


def test_metrics_that_are_missing_or_not_finite_say_nothing():
    rows = [dict.fromkeys(NOW | ALWAYS, math.nan)] * 5
    assert warnings_of(rows, rows) == warnings_of([{"loss": 1.0}], [{"loss": 1.0}] * 5) == []


def test_a_warning_is_said_again_only_after_a_while():
    watch = Watch()
    said = [step for step in range(1, 2 * QUIET + LATEST + 1) if watch.check(NOW | ALWAYS | {"clip_frac": 0.9})]
    assert said == [LATEST, LATEST + QUIET, LATEST + 2 * QUIET]


def test_the_window_of_the_first_steps_does_not_move():
    watch = Watch()
    for _ in range(FIRST):
        assert watch.check(BEGAN | ALWAYS) == []
    names = [w.name for step in range(40) for w in watch.check(BEGAN | ALWAYS | {"entropy": 0.34 * 0.9**step})]
    assert names == ["entropy_collapse"]


class TestPreflight:
    @pytest.fixture
    def look(self, text_policy, text_examples, even_ids):
        def run(what=even_ids, policy=text_policy, **more):
            settings = RLSettings(name="rl", steps=1, group_size=4, sampling=Sampling(max_new_tokens=6), **more)
            loader = Loader(policy, text_examples, reserve=6)
            return preflight(policy, LocalEngine(policy), loader, what, settings)

        return run

    def test_a_healthy_start(self, look):
        found = look()
        assert (found.groups, found.informative) == (8, 8)
        assert found.sampler_gap < 1e-4
        assert "informative groups: 8 of 8\n" in found.text
        assert "try" not in found.text

    def test_a_reward_that_is_flat_is_said_before_it_costs_anything(self, look):
        found = look(flat)
        assert found.informative == 0
        assert "informative groups: 0 of 8; the others teach nothing: try prompts" in found.text

    def test_a_sampler_of_another_policy_is_seen(self, look, text_policy, monkeypatch):
        generate = LocalEngine.generate

        def other(self, *arguments, **keys):
            yield from generate(self, *arguments, **keys)
            self.policy.model.lm_head.weight.data.mul_(3.0)

        monkeypatch.setattr(LocalEngine, "generate", other)
        found = look()
        assert found.sampler_gap > 0.18
        assert "; try importance_correction" in found.text

    def test_a_reward_that_costs_money_is_not_asked(self, look):
        class Paid(Reward):
            costly = True

            def score(self, completion, example):
                raise AssertionError("asked")

        found = look(Paid())
        assert found.informative is None
        assert "a score costs money" in found.text

    def test_no_randomness_and_no_weight_is_touched(self, look, text_policy):
        state, before = generator_state(), {k: v.clone() for k, v in text_policy.model.state_dict().items()}
        look(drawing)
        after = generator_state()
        assert (after["numpy"], after["torch"]) == (state["numpy"], state["torch"])  # beartype draws from Python's
        assert all(torch.equal(before[key], value) for key, value in text_policy.model.state_dict().items())

    def test_the_memory_estimate_by_hand(self, text_policy):
        """2 layers 32 wide, 500 tokens; a micro-batch of 100 tokens in float32, with a reference."""
        settings = RLSettings(
            name="rl", steps=1, micro_batch_tokens=100, clipping=ObjectiveSettings(kl_coef=0.1, kl_estimator="k3")
        )
        size = sum(p.numel() for p in text_policy.model.parameters())
        assert memory_estimate(text_policy, settings) == {
            "weights": 4 * size,
            "reference": 4 * size,
            "gradients": 4 * size,
            "optimizer": 8 * size,
            "activations": 68 * 100 * 32 * 2,
            "logits": 12 * 100 * 500,
        }
        text_policy.model.activation_checkpointing_enable()
        assert memory_estimate(text_policy, settings)["activations"] == (68 + 4 * 2) * 100 * 32
        text_policy.model.requires_grad_(False)
        text_policy.model.lm_head.requires_grad_(True)
        some = memory_estimate(text_policy, settings)
        assert "reference" not in some
        assert some["optimizer"] == 8 * 500 * 32

    def test_too_little_memory_is_said(self):
        found = Preflight(
            groups=8,
            informative=5,
            sampler_gap=1e-6,
            memory={"weights": 3 * 2**30, "optimizer": 6 * 2**30},
            available=8 * 2**30,
            seconds=1.0,
        )
        assert "memory, estimated: 9 of 8 GiB (weights 3, optimizer 6); try a lower" in found.text


@reward(range=(0, 1))
def flat(completion: Completion, example: Example) -> float:
    return 0.5


@reward(range=(0, 1))
def drawing(completion: Completion, example: Example) -> float:
    import numpy as np

    return float(np.random.random() * torch.rand(()))
