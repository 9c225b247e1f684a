"""Rows of one prompt share its image: encoded once, with the values and gradients of encoding it for each row."""

import copy

import torch

from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs


def logprobs_and_gradients(policy, batch):
    policy.model.zero_grad(set_to_none=True)
    logprobs, _ = CompletionLogprobs(policy, temperature=1.0)(batch)
    (logprobs * batch.completion_mask).sum().backward()
    return logprobs.detach(), {
        name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None
    }


def test_shared_images_are_encoded_once_and_nothing_changes(vl_policy, vl_examples):
    """One image, two images and none; each prompt on three rows, rows mixed."""
    prompts = [vl_policy.encode(example) for example in vl_examples] * 3
    answers = [vl_policy.encode_answer("2 nuclei"[: 3 + row % 5]) for row in range(len(prompts))]
    once = pad_batch(vl_policy, prompts, answers)
    each = pad_batch(vl_policy, [copy.copy(prompt) for prompt in prompts], answers)
    assert len(each.images.pixel_values) == 3 * len(once.images.pixel_values)
    logprobs, gradients = logprobs_and_gradients(vl_policy, once)
    expected, expected_gradients = logprobs_and_gradients(vl_policy, each)
    assert torch.allclose(logprobs, expected, atol=1e-6)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        assert torch.allclose(gradients[name], gradient, atol=1e-6, rtol=1e-4), name
    assert any(name.startswith("model.visual") and gradient.abs().max() > 0 for name, gradient in gradients.items())
