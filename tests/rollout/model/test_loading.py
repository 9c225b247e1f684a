"""4-bit weights and gradient checkpointing: when they are refused, and that they change memory, not the answer."""

import importlib.util
import json

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.model import loading
from groundrl.rollout.model.adapters import POLICY
from groundrl.rollout.model.loading import quantization_config
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.settings import LoraSettings


def gradients(policy: Policy, examples) -> tuple[dict[str, torch.Tensor], int]:
    """Those of the summed log-probs in evaluation mode, as in RL, and how often the first layer was computed."""
    policy.model.eval()
    calls = []
    layer = policy.model.get_decoder().layers[0].mlp
    handle = layer.register_forward_pre_hook(lambda *rest: calls.append(1))  # a recomputation stops early
    batch = pad_batch(policy, [policy.encode(example) for example in examples], [[5, 6, 7], [8]])
    values, _ = CompletionLogprobs(policy, temperature=1.0)(batch)
    calls.clear()
    values, _ = CompletionLogprobs(policy, temperature=1.0)(batch)
    forward = len(calls)
    values.sum().backward()
    handle.remove()
    return {n: p.grad for n, p in policy.model.named_parameters() if p.grad is not None}, len(calls) - forward


@pytest.mark.parametrize("lora", [False, True])
def test_gradient_checkpointing_computes_layers_again_and_changes_no_gradient(tiny_vl, vl_examples, lora):
    found = []
    for checkpointing in (False, True):
        policy = Policy.load(tiny_vl, gradient_checkpointing=checkpointing)
        if lora:
            policy.adapters.add(POLICY, LoraSettings(rank=2), seed=0)
        found.append(gradients(policy, vl_examples[:2]))
        assert not any(module.training for module in policy.model.modules()), "left as it was"
    (plain, once), (recomputed, twice) = found
    assert (once, twice) == (0, 1)
    assert plain.keys() == recomputed.keys()
    torch.testing.assert_close(recomputed, plain, rtol=1e-5, atol=1e-6)


def test_an_architecture_without_checkpointing_is_refused(tiny_text):
    model = AutoModelForCausalLM.from_pretrained(tiny_text)
    model.supports_gradient_checkpointing = False
    with pytest.raises(ValueError, match=r"model.gradient_checkpointing: LlamaForCausalLM has none"):
        loading.enable_checkpointing(model)


def test_four_bits_are_refused_without_cuda_and_without_bitsandbytes(tiny_text, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="4bit needs a CUDA device, and there is none here"):
        Policy.load(tiny_text, quantize="4bit")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs bitsandbytes: pip install \"groundrl\[qlora\]\""):
        Policy.load(tiny_text, quantize="4bit")


def test_the_four_bit_settings_are_those_of_qlora(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    config = quantization_config("4bit", "bfloat16")
    assert (config.load_in_4bit, config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert quantization_config(None, "bfloat16") is None


def test_qlora_learns_and_its_export_is_a_plain_model(tiny_vl, vl_examples, tmp_path, monkeypatch):
    """bitsandbytes computes on the CPU too, slowly: what it does there is what CUDA does."""
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = quantization_config("4bit", "float32")
    monkeypatch.undo()
    monkeypatch.setattr(loading, "PLACE", "cpu")
    settings = "groundrl.rollout.model.policy.quantization_config"
    monkeypatch.setattr(settings, lambda quantize, dtype: config if quantize else None)
    policy = Policy.load(tiny_vl, quantize="4bit")
    for module in policy.model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # it repacks weights of this width wrongly
    quantized = policy.model.model.language_model.layers[0].mlp.up_proj
    assert quantized.weight.dtype == torch.uint8
    assert type(policy.model.model.visual.blocks[0].mlp.linear_fc1) is nn.Linear
    policy.adapters.add(POLICY, LoraSettings(rank=2), seed=0)
    found, _ = gradients(policy, vl_examples[:2])
    assert found.keys() == policy.adapters.parameters(POLICY).keys()
    assert any(gradient.any() for gradient in found.values())
    policy.save(tmp_path / "merged")
    plain = Policy.load(tmp_path / "merged")
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())
    batch = pad_batch(policy, [policy.encode(vl_examples[0])], [[5, 6, 7]])
    with torch.no_grad():
        values = [CompletionLogprobs(one, temperature=1.0)(batch)[0] for one in (policy, plain)]
    torch.testing.assert_close(*values, rtol=0, atol=1e-2)
