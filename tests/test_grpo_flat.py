"""The flat script is the same algorithm as the loop: the same answers, rewards and losses, step by step."""

import runpy
from pathlib import Path

import pytest
from lightning.fabric import Fabric

from groundrl.algorithms import ObjectiveSettings, RLSettings, train_rl
from groundrl.experiments import NucleiCrops
from groundrl.rollout import Loader, LocalEngine, Policy, Sampling

SCRIPT = Path(__file__).parents[1] / "examples" / "grpo_flat.py"
SETTINGS = {"steps": 3, "prompts_per_step": 2, "group_size": 4, "epochs": 2, "lr": 1e-3, "warmup_steps": 2, "seed": 5}


def test_the_flat_script_has_the_losses_of_the_loop(tmp_path):
    """Two epochs with a large step, so that ratios move and are clipped; what differs is rounding alone."""
    flat = runpy.run_path(str(SCRIPT))
    found = flat["grpo"](Policy.load(flat["BASE"]), NucleiCrops("train"), max_new_tokens=48, **SETTINGS)
    policy, recorded = Policy.load(flat["BASE"]), []
    train_rl(
        policy,
        LocalEngine(policy),
        Loader(policy, NucleiCrops("train"), reserve=48),
        flat["REWARD"],
        RLSettings(
            name="rl",
            advantage="grpo",
            objective="dapo",
            update="padded",
            sampling=Sampling(max_new_tokens=48),
            clipping=ObjectiveSettings(clip_low=flat["CLIP_LOW"], clip_high=flat["CLIP_HIGH"]),
            **SETTINGS,
        ),
        fabric=Fabric(accelerator="cpu", devices=1),
        record=recorded.append,
        folder=tmp_path,
    )
    assert [step["reward"] for step in found] == pytest.approx([step.metrics["reward/mean"] for step in recorded])
    losses = [step.metrics["loss"] for step in recorded]
    assert [step["loss"] for step in found] == pytest.approx(losses, abs=2e-6)
    assert max(map(abs, losses)) > 1e-3, "the losses must be large beside the tolerance"
    assert max(step.metrics["clip_frac"] for step in recorded) > 0
