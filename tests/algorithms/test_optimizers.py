"""Muon on the hidden matrices, AdamW on the rest, and both as one optimiser."""

import pytest
import torch

from groundrl.algorithms.optimizers import Chained, make_optimizer


@pytest.fixture
def stepped(vl_policy):
    """A Qwen3-VL after one step with lr 0.01 on random gradients: name -> change, and the optimiser."""
    before = {name: parameter.detach().clone() for name, parameter in vl_policy.model.named_parameters()}
    optimizer = make_optimizer(vl_policy.model, name="muon", lr=0.01, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for parameter in vl_policy.model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()
    return {name: parameter.detach() - before[name] for name, parameter in vl_policy.model.named_parameters()}


def test_hidden_matrices_move_by_nearly_orthogonal_steps_of_adamws_size(stepped):
    """An orthogonalised m x n step has singular values near 1; scaled by 0.2 sqrt(max(m, n)) its RMS is about 0.2.

    Five Newton-Schulz iterations leave the values between about 0.7 and 1.2, the smallest ones of a square matrix
    below that (Jordan et al., 2024), so their median is looked at. A random gradient's own values spread far wider.
    """
    for name in ("model.language_model.layers.0.mlp.up_proj.weight", "model.visual.blocks.0.attn.qkv.weight"):
        change = stepped[name]
        values = torch.linalg.svdvals(change) / (0.01 * 0.2 * max(change.shape) ** 0.5)
        assert values.max() < 1.3
        assert 0.7 < values.median() < 1.2


def test_tables_norms_biases_and_convolutions_move_by_adamws_first_step(stepped):
    """AdamW's first step is lr in each coordinate, whatever the gradient's size."""
    names = ["embed_tokens.weight", "pos_embed.weight", "patch_embed.proj.weight", "norm.weight", "qkv.bias"]
    for end in names:
        (name, *_) = (name for name in stepped if name.endswith(end))
        assert torch.allclose(stepped[name].abs(), torch.tensor(0.01), rtol=1e-3), name


def test_one_schedule_reaches_both_parts_also_after_loading(text_policy):
    optimizer = make_optimizer(text_policy.model, name="muon", lr=0.01, weight_decay=0.0)
    assert isinstance(optimizer, Chained)
    optimizer.load_state_dict(optimizer.state_dict())
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == [0.005, 0.005]


def test_a_closure_is_evaluated_once_with_gradients(text_policy):
    optimizer = make_optimizer(text_policy.model, name="muon", lr=0.01, weight_decay=0.0)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        return torch.tensor(3.0)

    with torch.no_grad():
        assert optimizer.step(closure) == 3.0
    assert calls == [True]
