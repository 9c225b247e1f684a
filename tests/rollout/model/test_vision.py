"""A frozen vision tower encodes each image once, for sampling and for all log-probs; anything else is never stale."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.forms import BUILD
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.model.freezing import VISION, freeze
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.vision import frozen_tower
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling


@pytest.fixture
def encoded(vl_policy: Policy) -> list[int]:
    """How many images each call of the vision tower has encoded."""
    calls: list[int] = []
    vl_policy.model.model.visual.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    return calls


def values(policy: Policy, batch):
    logprobs, _ = CompletionLogprobs(policy, temperature=1.0)(batch)
    return logprobs


@pytest.mark.parametrize("form", BUILD)
def test_features_that_were_kept_change_nothing(vl_policy, vl_examples, form):
    """Log-probs and gradients of the language model, before and after the tower is frozen, and from the cache."""
    prompts = [vl_policy.encode(example) for example in vl_examples for _ in range(2)]
    completions = [[9, 8, 7], [6]] * 4
    weight = vl_policy.model.model.language_model.layers[0].mlp.up_proj.weight
    results = []
    for frozen in (False, True, True):
        if frozen:
            freeze(vl_policy, VISION)
        logprobs = values(vl_policy, BUILD[form](vl_policy, prompts, completions))
        results.append((logprobs.detach(), torch.autograd.grad(logprobs.sum(), weight)[0]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[2], results[1], rtol=0, atol=0)


def test_each_image_is_encoded_once_for_sampling_and_learning(vl_policy, vl_examples, encoded):
    """Four images in all, two of them in one prompt; sampling first, in inference mode."""
    freeze(vl_policy, VISION)
    engine = LocalEngine(vl_policy)
    keys = [example.id for example in vl_examples]
    list(engine.generate(vl_examples, group_size=2, sampling=Sampling(max_new_tokens=2), seed_keys=keys))
    prompts = [vl_policy.encode(example) for example in vl_examples for _ in range(2)]
    values(vl_policy, pad_batch(vl_policy, prompts, [[1, 2]] * 8)).sum().backward()
    assert sum(encoded) == 4


def test_a_tower_that_learns_is_asked_again(vl_policy, vl_examples, encoded):
    prompt = vl_policy.encode(vl_examples[1])
    for _ in range(2):
        values(vl_policy, pad_batch(vl_policy, [prompt], [[1, 2]]))
    assert encoded == [2, 2]
    assert not vl_policy.features.kept


def test_other_weights_are_another_key(vl_policy, vl_examples, encoded):
    """Loaded in place, as by a checkpoint."""
    freeze(vl_policy, VISION)
    prompt = vl_policy.encode(vl_examples[0])
    batch = pad_batch(vl_policy, [prompt], [[1, 2]])
    before = values(vl_policy, batch).detach()
    state = {n: tensor + 0.1 for n, tensor in vl_policy.model.model.visual.state_dict().items()}
    vl_policy.model.model.visual.load_state_dict(state)
    assert not torch.allclose(values(vl_policy, batch), before)
    assert encoded == [1, 1]


@pytest.mark.parametrize("target", ["attn.qkv", "linear_fc1"])
def test_an_adapter_on_tower_or_merger_refuses_the_cache(vl_policy, target):
    freeze(vl_policy, VISION)
    assert frozen_tower(vl_policy.model) is vl_policy.model.model.visual
    inject_adapter_in_model(LoraConfig(r=2, target_modules=rf".*visual.*{target}"), vl_policy.model)
    freeze(vl_policy, VISION)
    assert frozen_tower(vl_policy.model) is None


def test_what_is_kept_is_bounded(vl_policy, vl_examples, monkeypatch, encoded):
    monkeypatch.setattr("groundrl.rollout.model.vision.KEPT_BYTES", 1)
    freeze(vl_policy, VISION)
    for example in vl_examples[:2]:
        values(vl_policy, pad_batch(vl_policy, [vl_policy.encode(example)], [[1]]))
    assert len(vl_policy.features.kept) == 2, "the two images of the last prompt"


def test_a_text_model_has_nothing_to_freeze(text_policy):
    with pytest.raises(ValueError, match="the model has no vision tower, leave vision out"):
        freeze(text_policy, VISION)
