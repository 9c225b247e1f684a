"""Frozen matrices in bfloat16: half their memory, no result another, and exports that lose nothing unseen."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from groundrl.algorithms.reference import make_reference
from groundrl.experiments.evals.models import open_engine
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.model.adapters import POLICY
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.storage import store_frozen_in_bfloat16
from groundrl.rollout.settings import LoraSettings

LORA = LoraSettings(rank=4, alpha=8.0)


@pytest.fixture
def policy(tiny_vl) -> Policy:
    policy = Policy.load(tiny_vl, dtype="bfloat16")
    policy.adapters.add(POLICY, LORA, seed=0)
    with torch.no_grad():
        for k, parameter in enumerate(policy.adapters.parameters(POLICY).values()):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(k)))
    return policy


def outcome(policy: Policy, examples) -> list[torch.Tensor]:
    """Log-probs of a few completions, and the gradients of their sum."""
    batch = pad_batch(policy, [policy.encode(example) for example in examples], [[5, 6, 7], [8], [9, 10]])
    values, _ = CompletionLogprobs(policy, temperature=1.0)(batch)
    trained = list(policy.adapters.parameters(POLICY).values())
    return [values.detach(), *torch.autograd.grad(values.sum(), trained)]


def matrices(policy: Policy) -> dict[str, nn.Linear]:
    return {name: module for name, module in policy.model.named_modules() if type(module) is nn.Linear}


@pytest.mark.parametrize("exported", [True, False])
def test_no_log_prob_and_no_gradient_changes(policy, vl_examples, exported):
    before = outcome(policy, vl_examples[:3])
    store_frozen_in_bfloat16(policy, exported=exported)
    after = outcome(policy, vl_examples[:3])
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_matrices_under_an_adapter_and_those_that_lose_nothing_are_stored_in_half(policy):
    exact, nearly = [module for name, module in matrices(policy).items() if "visual.blocks.0" in name][:2]
    with torch.no_grad():
        exact.weight.copy_(exact.weight.bfloat16())
        nearly.weight[1:].copy_(nearly.weight[1:].bfloat16())
    store_frozen_in_bfloat16(policy, exported=True)
    half = {name for name, module in matrices(policy).items() if module.weight.dtype == torch.bfloat16}
    assert {name for name in half if "visual" not in name} == {n for n in matrices(policy) if ".base_layer" in n}
    assert [matrices(policy)[name] for name in half if "visual" in name] == [exact]
    others = [p for name, p in policy.model.named_parameters() if name.removesuffix(".weight") not in half]
    assert {p.dtype for p in others} == {torch.float32}


def test_what_will_not_be_exported_is_stored_in_half_but_for_what_learns_and_shared_tables(policy):
    store_frozen_in_bfloat16(policy, exported=False)
    for name, module in matrices(policy).items():
        kept = ".lora_" in name or name == "lm_head"  # learns; is the table of the embedding too
        assert (module.weight.dtype == torch.float32) == kept, name


def test_an_export_is_in_float32_and_of_what_has_no_adapter_unchanged(policy, tiny_vl, tmp_path):
    part = next(name for name in matrices(policy) if "visual.blocks.0" in name)
    with torch.no_grad():
        exact = policy.model.get_submodule(part).weight
        exact.copy_(exact.bfloat16())
    store_frozen_in_bfloat16(policy, exported=True)
    policy.save(tmp_path / "merged")
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_vl, tmp_path / "merged"))
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    before[f"{part}.weight"] = before[f"{part}.weight"].bfloat16().float()
    assert all(torch.equal(after[name], before[name]) for name in before if "visual" in name or "norm" in name)
    name = "model.language_model.layers.0.mlp.up_proj"
    module = policy.model.get_submodule(name)
    expected = before[f"{name}.weight"].bfloat16().float() + module.get_delta_weight(POLICY)
    assert torch.equal(after[f"{name}.weight"], expected)


def test_a_model_that_learns_whole_is_left_alone(tiny_vl):
    policy = Policy.load(tiny_vl, dtype="bfloat16")
    store_frozen_in_bfloat16(policy, exported=False)
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}


def test_in_float32_nothing_is_rounded(tiny_vl):
    policy = Policy.load(tiny_vl)
    policy.adapters.add(POLICY, LORA, seed=0)
    store_frozen_in_bfloat16(policy, exported=False)
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}


def test_an_adapter_that_is_added_later_learns_in_float32(policy):
    """A critic's comes after: peft makes a new adapter in the precision of what it stands on."""
    store_frozen_in_bfloat16(policy, exported=True)
    policy.adapters.add("critic", LORA, seed=1)
    assert {p.dtype for p in policy.adapters.parameters("critic").values()} == {torch.float32}


def test_references_and_evaluated_models_are_stored_so(policy, tiny_vl):
    whole = Policy.load(tiny_vl, dtype="bfloat16")
    reference = make_reference(whole, temperature=1.0)
    for model in (reference.policy.model, open_engine(str(tiny_vl), batch_size=2, dtype="bfloat16").policy.model):
        assert model.get_decoder().layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
    assert {p.dtype for p in whole.model.parameters()} == {torch.float32}
