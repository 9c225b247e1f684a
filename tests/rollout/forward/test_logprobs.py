"""The one definition of log-probs, against hand values and against the model's own logits."""

import math

import pytest
import torch

from groundrl.rewards import Example
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import (
    NEVER,
    CompletionLogprobs,
    TokenLogprobs,
    completion_logits,
    masked_log_softmax,
    token_entropy,
)


def test_masked_log_softmax_by_hand():
    """Logits 2 ln 2, 0 and a forbidden one at temperature 2: weights 2 and 1, so 2/3 and 1/3."""
    allowed = torch.tensor([True, False, True])
    log_probs = masked_log_softmax(torch.tensor([2 * math.log(2), 50.0, 0.0]), allowed, 2.0)
    torch.testing.assert_close(log_probs, torch.tensor([math.log(2 / 3), -torch.inf, math.log(1 / 3)]))
    expected = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert token_entropy(log_probs).item() == pytest.approx(expected)


def test_the_entropy_has_a_gradient_where_it_is_asked_for(vl_policy):
    """That of the plain formula over the tokens that may be sampled; finite although others have probability 0."""
    batch = pad_batch(vl_policy, [vl_policy.encode(Example(id="e", prompt="yes"))], [[5, 6]])
    weight = vl_policy.model.model.language_model.norm.weight
    _, entropy = CompletionLogprobs(vl_policy, temperature=1.0, entropy_grad=True)(batch)
    (found,) = torch.autograd.grad(entropy.sum(), weight)
    allowed = completion_logits(vl_policy, batch)[..., vl_policy.allowed]
    probabilities = allowed.softmax(dim=-1)
    (expected,) = torch.autograd.grad(-(probabilities * probabilities.log()).sum(), weight)
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)
    assert not CompletionLogprobs(vl_policy, temperature=1.0)(batch)[1].requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chosen_tokens_in_few_passes_are_those_of_the_definition(dtype):
    """Values and gradients, with forbidden tokens and a temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(7, 11, generator=generator)).to(dtype).requires_grad_()
    ids = torch.tensor([0, 3, 4, 4, 10, 1, 9])
    allowed = torch.ones(11, dtype=torch.bool)
    allowed[[2, 7]] = False
    weights = torch.randn(7, generator=generator)
    log_probs = masked_log_softmax(logits, allowed, 0.7)
    expected = log_probs.gather(-1, ids[:, None])[:, 0]
    (gradient,) = torch.autograd.grad((expected * weights).sum(), logits)
    forbidden = torch.zeros(11).masked_fill(~allowed, NEVER)
    found, entropy = TokenLogprobs.apply(logits, ids, forbidden, 0.7)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(entropy, token_entropy(log_probs).detach())
    assert not entropy.requires_grad
    (found_gradient,) = torch.autograd.grad((found * weights).sum(), logits)
    torch.testing.assert_close(found_gradient, gradient)
    assert gradient[:, 7].abs().max() == found_gradient[:, 7].abs().max() == 0


def test_it_is_float32_whatever_the_logits_are():
    log_probs = masked_log_softmax(torch.zeros(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.bool), 1.0)
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs, torch.full((3,), -math.log(3)))


def test_they_are_those_of_the_whole_forward(vl_policy, vl_examples):
    """Against the logits at every position of one row: the token at t is predicted at t - 1."""
    prompt, ids = vl_policy.encode(vl_examples[1]), [7, 99, 5]
    batch = pad_batch(vl_policy, [prompt], [ids])
    logprobs, _ = CompletionLogprobs(vl_policy, temperature=0.5)(batch)
    logits = vl_policy.model(**batch.model_inputs(vl_policy), use_cache=False).logits[0].double()
    logits[:, ~vl_policy.allowed] = -torch.inf
    expected = torch.stack(
        [torch.log_softmax(logits[len(prompt) - 1 + t] / 0.5, dim=-1)[token] for t, token in enumerate(ids)]
    )
    torch.testing.assert_close(logprobs[0].double(), expected, rtol=0, atol=1e-5)


def test_padding_with_a_forbidden_token_leaves_the_gradient_finite(vl_policy):
    """The pad token cannot be sampled here, so its log-prob is -inf: 0 * -inf must not reach the loss."""
    vl_policy.allowed[vl_policy.pad_id] = False
    prompt = vl_policy.encode(Example(id="e", prompt="yes"))
    batch = pad_batch(vl_policy, [prompt, prompt], [[5, 6, 7], [5]])
    logprobs, _ = CompletionLogprobs(vl_policy, temperature=1.0)(batch)
    loss = (logprobs * batch.completion_mask).sum()
    assert torch.isfinite(loss)
    loss.backward()
    gradient = vl_policy.model.model.language_model.layers[0].mlp.up_proj.weight.grad
    assert torch.isfinite(gradient).all()
    assert gradient.any()
