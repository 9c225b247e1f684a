"""LoRA: what is trained, switched off, merged and exported, on a text model and on the tiny Qwen3-VL."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.model.adapters import POLICY
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import LoraSettings, Sampling

LORA = LoraSettings(rank=4, alpha=8.0)


def disturb(policy: Policy, adapter: str = POLICY) -> None:
    """As if it had learned: every trained weight is another."""
    with torch.no_grad():
        for k, parameter in enumerate(policy.adapters.parameters(adapter).values()):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(k)))


def logprobs(policy: Policy, examples) -> torch.Tensor:
    batch = pad_batch(policy, [policy.encode(example) for example in examples], [[5, 6, 7], [8], [9, 10]])
    with torch.no_grad():
        values, _ = CompletionLogprobs(policy, temperature=1.0)(batch)
    return values


@pytest.fixture(params=["text", "vision"])
def either(request, tiny_text, tiny_vl, text_examples, vl_examples):
    """A policy's folder and three examples for it."""
    return (tiny_text, text_examples) if request.param == "text" else (tiny_vl, vl_examples[:3])


def test_only_the_adapter_is_trained_and_a_fresh_one_changes_nothing(either):
    folder, examples = either
    policy = Policy.load(folder)
    before = logprobs(policy, examples)
    policy.adapters.add(POLICY, LORA, seed=0)
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert trained == set(policy.adapters.parameters(POLICY))
    # A and B of the seven linear layers (q, k, v, o, gate, up, down) of both layers of the language model
    assert len(trained) == 2 * 7 * 2
    assert not any("visual" in name or "lm_head" in name for name in trained)
    torch.testing.assert_close(logprobs(policy, examples), before, rtol=0, atol=0)


def test_merged_it_gives_the_same_log_probs_and_switched_off_those_of_before(either, tmp_path):
    folder, examples = either
    policy = Policy.load(folder)
    before = logprobs(policy, examples)
    policy.adapters.add(POLICY, LORA, seed=0)
    disturb(policy)
    adapted = logprobs(policy, examples)
    assert (adapted - before).abs().max() > 0.01
    with policy.adapters.only(None):
        torch.testing.assert_close(logprobs(policy, examples), before, rtol=0, atol=0)
    torch.testing.assert_close(logprobs(policy, examples), adapted, rtol=0, atol=0)
    policy.save(tmp_path / "merged")
    merged = Policy.load(tmp_path / "merged")
    torch.testing.assert_close(logprobs(merged, examples), adapted, rtol=0, atol=1e-5)
    merged.adapters.add(POLICY, LORA, seed=1)  # a fresh one, as RL puts on what SFT has learned
    torch.testing.assert_close(logprobs(merged, examples), adapted, rtol=0, atol=1e-5)


def test_the_export_is_a_plain_folder_with_plain_names(either, tmp_path):
    folder, _ = either
    policy = Policy.load(folder)
    plain = policy.model.state_dict()
    policy.adapters.add(POLICY, LORA, seed=0)
    disturb(policy)
    assert set(policy.weights()) == set(plain)
    auto = AutoModelForImageTextToText if policy.has_mrope else AutoModelForCausalLM
    policy.save(tmp_path / "merged")
    loaded, info = auto.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, policy.weights()[name]), name
    changed = {name for name, tensor in plain.items() if not torch.equal(tensor, policy.weights()[name])}
    assert len(changed) == 7 * 2


def test_a_module_trained_whole_is_exported_in_the_place_of_its_original(tiny_text, text_examples, tmp_path):
    policy = Policy.load(tiny_text)
    before = logprobs(policy, text_examples)
    policy.adapters.add(POLICY, LoraSettings(rank=2, targets=("q_proj",), modules_to_save=("lm_head",)), seed=0)
    names = {name.split(".")[0] for name in policy.adapters.parameters(POLICY)}
    assert names == {"model", "lm_head"}
    disturb(policy)
    adapted = logprobs(policy, text_examples)
    with policy.adapters.only(None):
        torch.testing.assert_close(logprobs(policy, text_examples), before, rtol=0, atol=0)
    policy.save(tmp_path / "merged")
    torch.testing.assert_close(logprobs(Policy.load(tmp_path / "merged"), text_examples), adapted, rtol=0, atol=1e-5)


def test_two_adapters_take_turns_and_both_stay_trainable(tiny_text, text_examples):
    policy = Policy.load(tiny_text)
    policy.adapters.add(POLICY, LORA, seed=0)
    disturb(policy)
    adapted = logprobs(policy, text_examples)
    policy.adapters.add("critic", LORA, seed=1)
    disturb(policy, "critic")
    assert policy.adapters.active == POLICY
    torch.testing.assert_close(logprobs(policy, text_examples), adapted, rtol=0, atol=0)
    with policy.adapters.only("critic"):
        assert (logprobs(policy, text_examples) - adapted).abs().max() > 0.001
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert trained == {*policy.adapters.parameters(POLICY), *policy.adapters.parameters("critic")}
    assert not any("critic" in name for name in policy.weights())


def test_dropout_of_a_new_adapter_is_off_where_the_models_is(text_policy):
    text_policy.model.eval()
    text_policy.adapters.add(POLICY, LoraSettings(rank=2, dropout=0.5), seed=0)
    assert not any(module.training for module in text_policy.model.modules())


def test_all_reaches_the_vision_tower_too(vl_policy):
    vl_policy.adapters.add(POLICY, LoraSettings(rank=2, targets="all"), seed=0)
    names = vl_policy.adapters.parameters(POLICY)
    assert any(".visual.blocks." in name for name in names)
    assert not any("lm_head" in name for name in names)


def test_it_is_drawn_from_its_seed_and_leaves_the_generator_alone(tiny_text):
    drawn = []
    for seed in (0, 0, 1):
        policy = Policy.load(tiny_text)
        state = torch.get_rng_state()
        policy.adapters.add(POLICY, LORA, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        drawn.append(torch.cat([p.flatten() for p in policy.adapters.parameters(POLICY).values()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ("q_projj",)}, "lora.targets: the model has no module 'q_projj'"),
        ({"modules_to_save": ("head",)}, "lora.modules_to_save: the model has no module 'head'"),
        ({"modules_to_save": ("lm_head",)}, "embedding and head are one, leave 'lm_head' out"),
    ],
)
def test_names_that_the_model_does_not_have_are_refused(vl_policy, settings, message):
    with pytest.raises(ValueError, match=message):
        vl_policy.adapters.add(POLICY, LoraSettings(**settings), seed=0)


def test_another_adapter_than_the_checkpoints_is_refused(tiny_text):
    policy, other = Policy.load(tiny_text), Policy.load(tiny_text)
    policy.adapters.add(POLICY, LORA, seed=0)
    other.adapters.add(POLICY, LoraSettings(rank=8), seed=0)
    with pytest.raises(ValueError, match="the checkpoint holds another adapter"):
        policy.adapters.load(POLICY, other.adapters.parameters(POLICY))


def test_the_sampler_answers_with_the_adapter(tiny_vl, vl_examples):
    """Its log-probs are those of the adapted model's own forward."""
    policy = Policy.load(tiny_vl)
    policy.adapters.add(POLICY, LORA, seed=0)
    disturb(policy)
    (group,) = LocalEngine(policy).generate(
        vl_examples[:1], group_size=2, sampling=Sampling(max_new_tokens=4), seed_keys=["k"]
    )
    for completion in group.completions:
        batch = pad_batch(policy, [policy.encode(vl_examples[0])], [completion.token_ids])
        with torch.no_grad():
            values, _ = CompletionLogprobs(policy, temperature=1.0)(batch)
        torch.testing.assert_close(values[0], torch.tensor(completion.logprobs), rtol=0, atol=1e-4)
