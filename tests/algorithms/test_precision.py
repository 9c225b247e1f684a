"""bfloat16 when it is asked for: in sampling, in the RL update and in SFT; weights and loss stay float32."""

import pytest
import torch
from lightning.fabric import Fabric

from groundrl.algorithms.learner import Learner
from groundrl.algorithms.settings import SFTSettings
from groundrl.algorithms.sft import train_sft
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling


@pytest.fixture(params=["float32", "bfloat16"])
def watched(request, tiny_vl):
    """A policy in this precision, the precision, and the dtypes that its Linear layers put out, by where they lie."""
    policy = Policy.load(tiny_vl, dtype=request.param)
    seen: set[tuple[str, torch.dtype, bool]] = set()

    def watch(name):
        def hook(module, inputs, output):
            seen.add((name, output.dtype, torch.is_grad_enabled()))

        return hook

    model = policy.model.model
    model.visual.blocks[0].mlp.linear_fc1.register_forward_hook(watch("vision"))
    model.language_model.layers[0].mlp.up_proj.register_forward_hook(watch("language"))
    policy.model.lm_head.register_forward_hook(watch("head"))
    return policy, getattr(torch, request.param), seen


def everywhere(dtype: torch.dtype, *, training: bool) -> set[tuple[str, torch.dtype, bool]]:
    return {(name, dtype, training) for name in ("vision", "language", "head")}


def weights_and_gradients(policy: Policy) -> set[torch.dtype]:
    parameters = list(policy.model.parameters())
    return {p.dtype for p in parameters} | {p.grad.dtype for p in parameters if p.grad is not None}


def test_sampling(watched, vl_examples):
    policy, dtype, seen = watched
    sampling = Sampling(max_new_tokens=3)
    list(LocalEngine(policy).generate(vl_examples[:1], group_size=2, sampling=sampling, seed_keys=["k"]))
    assert seen == everywhere(dtype, training=False)


@pytest.mark.parametrize("told", ["the policy's precision", "nothing"])
def test_rl_update(watched, vl_examples, rl_run, monkeypatch, told):
    """The command line tells Fabric the policy's precision; who calls `train_rl` may not. The policy's counts."""
    policy, dtype, seen = watched
    precision = "bf16-mixed" if told != "nothing" and dtype == torch.bfloat16 else "32-true"
    losses = []
    backward = Learner.backward
    monkeypatch.setattr(
        Fabric, "__init__", lambda self, init=Fabric.__init__, **k: init(self, precision=precision, **k)
    )
    monkeypatch.setattr(
        Learner, "backward", lambda self, loss, *rest: (losses.append(loss), backward(self, loss, *rest))
    )
    rl_run(policy, vl_examples[:2], steps=1)
    assert seen == everywhere(dtype, training=False) | everywhere(dtype, training=True)
    assert {loss.dtype for loss in losses} == {torch.float32}
    assert weights_and_gradients(policy) == {torch.float32}


def test_sft(watched, vl_examples, tmp_path):
    policy, dtype, seen = watched
    loader = Loader(policy, vl_examples[:2], answers=True)
    settings = SFTSettings(steps=1, batch_size=2)
    hardware = {"accelerator": "cpu", "devices": 1}
    dtypes = []
    policy.model.lm_head.weight.register_hook(lambda gradient: dtypes.append(gradient.dtype))
    train_sft(policy, loader, settings, record=lambda row: None, folder=tmp_path, hardware=hardware)
    assert seen == everywhere(dtype, training=True)
    assert weights_and_gradients(policy) == {torch.float32}
    assert set(dtypes) == {torch.float32}


def test_bfloat16_learns_about_what_float32_learns(tiny_vl, vl_examples, rl_run):
    """The sampler and the update compute in the same precision, so their log-probs stay close in bfloat16 too."""
    (step,) = rl_run(Policy.load(tiny_vl, dtype="bfloat16"), vl_examples[:2], steps=1)
    assert step.metrics["sampler_gap"] < 0.1
