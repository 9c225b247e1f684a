"""The sampler against `model.generate`, against the trainer's log-probs, and against the laws of chance."""

import numpy as np
import pytest
import torch
import transformers
from scipy import stats

from groundrl.rewards import Example
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs, masked_log_softmax
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.drawing import draw
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling

WINDOW = 8  # shorter than every prompt, so that a sliding window or a chunk does cut something off
SMALL = {
    "vocab_size": 500,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
}
HEAD = {**SMALL, "head_dim": 8}
RECURRENT = {"vocab_size": 500, "hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": None}
# Initialised wide, or a random model's greedy answer is one token over and over, which any fault would repeat too.
WIDE = {"initializer_range": 0.2}
ARCHITECTURES = {
    "llama": ("LlamaConfig", HEAD),
    "qwen2": ("Qwen2Config", SMALL),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": 500, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "bos_token_id": None},
    ),
    "gemma2, soft-cap and sliding window": (
        "Gemma2Config",
        {**HEAD, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0, "sliding_window": WINDOW},
    ),
    "gemma3, soft-cap and sliding window": (
        "Gemma3TextConfig",
        {**HEAD, "final_logit_softcapping": 3.0, "sliding_window": WINDOW},
    ),
    "mistral, sliding window": ("MistralConfig", {**HEAD, "sliding_window": WINDOW}),
    "cohere, scaled logits": ("CohereConfig", {**SMALL, "logit_scale": 4.0}),
    "mamba, recurrent": ("MambaConfig", {**RECURRENT, "state_size": 4}),
    "lfm2, convolution and attention": ("Lfm2Config", {**SMALL, "layer_types": ["conv", "full_attention"]}),
}


def generate(policy: Policy, examples, *, temperature: float, group_size: int = 2, tokens: int = 12, keys=None):
    sampling = Sampling(max_new_tokens=tokens, temperature=temperature)
    keys = keys or [f"key-{example.id}" for example in examples]
    groups = LocalEngine(policy).generate(examples, group_size=group_size, sampling=sampling, seed_keys=keys)
    return sorted(groups, key=lambda group: group.index)  # they come as they finish


def token_ids(groups) -> list[list[tuple[int, ...]]]:
    return [[completion.token_ids for completion in group.completions] for group in groups]


def greedy_by_transformers(policy: Policy, example: Example, tokens: int = 12) -> tuple[int, ...]:
    """The completion of `model.generate` for this prompt alone, without padding and without forbidden ids."""
    prompt = policy.encode(example)
    inputs = {"input_ids": prompt.ids[None], "attention_mask": torch.ones_like(prompt.ids)[None]}
    if prompt.pixel_values is not None:
        inputs |= {"pixel_values": prompt.pixel_values, "image_grid_thw": prompt.image_grid_thw}
        inputs["mm_token_type_ids"] = prompt.image_tokens[None].int()
    out = policy.model.generate(
        **inputs,
        max_new_tokens=tokens,
        do_sample=False,
        suppress_tokens=(~policy.allowed).nonzero()[:, 0].tolist(),
        eos_token_id=list(policy.end_ids),
        pad_token_id=policy.pad_id,
    )
    return tuple(out[0, len(prompt) :].tolist())


def trainer_gap(policy: Policy, groups, *, temperature: float) -> float:
    """The largest difference between the sampler's log-probs and those that the update computes."""
    rows = [(policy.encode(group.example), completion) for group in groups for completion in group.completions]
    batch = pad_batch(policy, [prompt for prompt, _ in rows], [completion.token_ids for _, completion in rows])
    with torch.no_grad():
        logprobs, _ = CompletionLogprobs(policy, temperature=temperature)(batch)
    return max(
        float((logprobs[row, : len(c.logprobs)] - torch.tensor(c.logprobs)).abs().max())
        for row, (_, c) in enumerate(rows)
    )


@pytest.fixture(params=ARCHITECTURES, scope="module")
def architecture(request, text_model) -> Policy:
    name, fields = ARCHITECTURES[request.param]
    config = getattr(transformers, name)(**fields, **({} if "mamba" in request.param else WIDE))
    return Policy.load(text_model(config))


@pytest.fixture
def wide_vl(vl_policy: Policy) -> Policy:
    """Weights of the language model ten times as large: answers that differ from prompt to prompt."""
    for parameter in vl_policy.model.model.language_model.layers.parameters():
        if parameter.dim() > 1:
            parameter.data *= 10
    return vl_policy


@pytest.fixture
def ending(text_policy: Policy) -> Policy:
    """An end token with about half of the probability, so that a group ends at different lengths."""
    bias = torch.zeros(500)
    bias[text_policy.end_ids[0]] = 6.0
    text_policy.model.lm_head.register_forward_hook(lambda module, inputs, logits: logits + bias)
    return text_policy


class TestGreedy:
    def test_any_text_architecture_writes_what_generate_writes(self, architecture, text_examples):
        groups = generate(architecture, text_examples, temperature=0.0)
        expected = [greedy_by_transformers(architecture, example) for example in text_examples]
        assert token_ids(groups) == [[ids, ids] for ids in expected]

    def test_qwen3_vl_with_no_one_and_two_images(self, wide_vl, vl_examples):
        groups = generate(wide_vl, vl_examples, temperature=0.0)
        expected = [greedy_by_transformers(wide_vl, example) for example in vl_examples]
        assert len(set(expected)) == len(expected), "the prompts must matter, or the test could not fail"
        assert token_ids(groups) == [[ids, ids] for ids in expected]

    def test_an_architecture_whose_cache_cannot_be_shared_is_refused_by_name(self, text_model, text_examples):
        folder = text_model(transformers.RwkvConfig(**RECURRENT))
        with pytest.raises(ValueError, match="RwkvForCausalLM cannot be sampled from"):
            generate(Policy.load(folder), text_examples, temperature=0.0)


class TestLogprobs:
    def test_any_text_architecture_samples_with_the_trainers_logprobs(self, architecture, text_examples):
        groups = generate(architecture, text_examples, temperature=0.7, group_size=4)
        assert trainer_gap(architecture, groups, temperature=0.7) < 1e-5

    def test_qwen3_vl_samples_with_the_trainers_logprobs(self, wide_vl, vl_examples):
        groups = generate(wide_vl, vl_examples, temperature=0.7, group_size=4)
        assert trainer_gap(wide_vl, groups, temperature=0.7) < 1e-5
        assert trainer_gap(wide_vl, groups, temperature=1.0) > 0.1, "the temperature must matter"


class TestChance:
    def test_frequencies_follow_the_distribution(self):
        """10,000 draws from `softmax([0, 1, 2, forbidden, 0.5] / 0.7)`; the noise is fixed, so this cannot flicker."""
        logits = torch.tensor([0.0, 1.0, 2.0, 9.0, 0.5])
        allowed = torch.tensor([True, True, True, False, True])
        log_probs = masked_log_softmax(logits, allowed, 0.7).expand(10_000, -1)
        uniforms = torch.from_numpy(np.random.default_rng(0).random(10_000))
        counts = torch.bincount(draw(log_probs, uniforms)[0], minlength=5).numpy()
        weights = np.exp(np.array([0.0, 1.0, 2.0, 0.5]) / 0.7)
        assert counts[3] == 0
        assert stats.chisquare(counts[[0, 1, 2, 4]], 10_000 * weights / weights.sum()).pvalue > 0.01

    def test_the_ends_of_the_unit_interval_draw_the_first_and_last_possible_token(self):
        log_probs = torch.tensor([[-torch.inf, np.log(0.5), np.log(0.5), -torch.inf]] * 2, dtype=torch.float32)
        assert draw(log_probs, torch.tensor([0.0, 1.0], dtype=torch.float64))[0].tolist() == [1, 2]  # 1.0: by rounding

    def test_a_key_draws_the_same_in_any_batch(self, wide_vl, vl_examples):
        together = generate(wide_vl, vl_examples, temperature=1.0, group_size=3)
        alone = [generate(wide_vl, [example], temperature=1.0, group_size=2)[0] for example in vl_examples]
        for many, few in zip(together, alone, strict=True):
            assert [c.token_ids for c in many.completions[:2]] == [c.token_ids for c in few.completions]

    def test_other_keys_and_other_completions_draw_other_noise(self, text_policy, text_examples):
        example = text_examples[0]
        first, second = generate(text_policy, [example, example], temperature=1.0, keys=["a", "b"])
        assert len({c.token_ids for group in (first, second) for c in group.completions}) == 4

    def test_several_batches_yield_all_groups_in_order(self, text_policy, text_examples):
        sampling = Sampling(max_new_tokens=4)
        engine = LocalEngine(text_policy, max_rows=4)  # two groups of two at a time: three prompts are two batches
        keys = ["a", "b", "c"]
        found = engine.generate(text_examples, group_size=2, sampling=sampling, seed_keys=keys)
        groups = sorted(found, key=lambda group: group.index)
        assert [(g.index, g.example.id, g.seed_key) for g in groups] == [(0, "t0", "a"), (1, "t1", "b"), (2, "t2", "c")]
        whole = generate(text_policy, text_examples, temperature=1.0, tokens=4, keys=keys)
        assert token_ids(groups) == token_ids(whole)


class TestGroups:
    def test_a_short_group_is_handed_over_while_the_others_are_written(self, ending, text_examples):
        """As soon as its last answer has ended, and never in inference mode or in the sampler's precision."""
        ending.autocast_enabled = True
        sampling = Sampling(max_new_tokens=40)
        steps: list[int] = []
        ending.model.lm_head.register_forward_hook(lambda module, inputs, logits: steps.append(len(logits)))
        keys = [f"k{index}" for index in range(8)]
        seen = []
        for group in LocalEngine(ending).generate(
            text_examples[:1] * 8, group_size=2, sampling=sampling, seed_keys=keys
        ):
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            longest = max(len(c.token_ids) for c in group.completions)
            assert len(steps) == longest, "nothing is written after a group has ended before it is handed over"
            seen.append(group.index)
        assert sorted(seen) == list(range(8))
        assert seen != list(range(8))
        assert steps == sorted(steps, reverse=True)
        assert steps[0] == 8, "one row a prompt is read, then two answers each"

    def test_rows_in_the_batch_are_those_that_still_write(self, ending, text_examples):
        rows: list[int] = []
        ending.model.lm_head.register_forward_hook(lambda module, inputs, logits: rows.append(len(logits)))
        (group,) = generate(ending, text_examples[:1], temperature=1.0, group_size=8, tokens=20)
        lengths = [len(c.token_ids) for c in group.completions]
        assert rows == [1, *(sum(length > token for length in lengths) for token in range(1, max(lengths)))]

    def test_the_cache_has_the_size_that_it_should(self, text_policy, text_examples):
        """2 layers, keys and values, 4 rows, 2 heads of 8 float32; 5 tokens: the last is never read."""
        engine = LocalEngine(text_policy)
        longest = max(len(text_policy.encode(example)) for example in text_examples[:2])
        list(
            engine.generate(text_examples[:2], group_size=2, sampling=Sampling(max_new_tokens=5), seed_keys=["a", "b"])
        )
        assert engine.cache_bytes == 2 * 2 * 4 * 2 * (longest + 4) * 8 * 4


class TestForbidden:
    def test_vision_tokens_and_unknown_ids_are_never_sampled(self, vl_policy, vl_examples):
        """Every logit that must never win is made to win by far: by a bias that only forbidden ids have."""
        token = vl_policy.tokenizer.convert_tokens_to_ids
        vision = [token(f"<|{name}|>") for name in ("image_pad", "video_pad", "vision_start", "vision_end")]
        beyond = list(range(len(vl_policy.tokenizer), 512))
        assert len(beyond) > 0
        assert (~vl_policy.allowed).nonzero()[:, 0].tolist() == sorted([*vision, *beyond])
        bias = torch.zeros(512)
        bias[[*vision, *beyond]] = 1e4
        vl_policy.model.lm_head.register_forward_hook(lambda module, inputs, logits: logits + bias)
        for temperature in (0.0, 1.0):
            groups = generate(vl_policy, vl_examples, temperature=temperature, group_size=4)
            sampled = {token for group in groups for c in group.completions for token in c.token_ids}
            assert not sampled & {*vision, *beyond}
            assert all(np.isfinite(c.logprobs).all() for group in groups for c in group.completions)


class TestEnd:
    def test_the_end_token_is_kept_and_nothing_follows_it(self, ending, text_examples):
        groups = generate(ending, text_examples, temperature=1.0, group_size=8, tokens=6)
        completions = [c for group in groups for c in group.completions]
        end = ending.end_ids[0]
        assert {c.finish_reason for c in completions} == {"stop", "length"}
        for c in completions:
            assert (c.token_ids[-1] == end) == (c.finish_reason == "stop")
            assert end not in c.token_ids[:-1]
            assert len(c.token_ids) == len(c.sampled) == len(c.logprobs)
            assert all(c.sampled), "the end token is sampled and learned from like any other"
            assert len(c.token_ids) == 6 or c.finish_reason == "stop"
            assert "<|im_end|>" not in c.text
            assert c.text == ending.tokenizer.decode([token for token in c.token_ids if token != end])

    def test_rows_that_leave_the_batch_early_change_nothing(self, ending, text_examples):
        """Finished rows are dropped from the cache; the others go on as if nothing had happened."""
        groups = generate(ending, text_examples, temperature=1.0, group_size=8, tokens=16)
        assert len({len(c.token_ids) for group in groups for c in group.completions}) > 3
        assert trainer_gap(ending, groups, temperature=1.0) < 1e-5

    def test_a_stop_string_ends_an_answer_that_keeps_it(self, text_policy, text_examples):
        """Wherever it ends up: in one token or over several, and found however long ago the answer began."""
        free = generate(text_policy, text_examples, temperature=1.0, group_size=4, tokens=30)
        stop = (free[0].completions[0].text[12:14], "</never>")
        sampling = Sampling(max_new_tokens=30, stop=stop)
        keys = [f"key-{example.id}" for example in text_examples]
        found = LocalEngine(text_policy).generate(text_examples, group_size=4, sampling=sampling, seed_keys=keys)
        for group, before in zip(sorted(found, key=lambda group: group.index), free, strict=True):
            for c, whole in zip(group.completions, before.completions, strict=True):
                assert c.token_ids == whole.token_ids[: len(c.token_ids)], "up to there it is the same answer"
                assert (stop[0] in c.text) == (stop[0] in whole.text)
                assert stop[0] not in text_policy.decode(c.token_ids[:-1])
                assert c.finish_reason == ("stop" if stop[0] in c.text else whole.finish_reason)

    def test_a_stop_token_ends_an_answer(self, text_policy, text_examples):
        (free,) = generate(text_policy, text_examples[:1], temperature=1.0, group_size=1, tokens=9)
        token = free.completions[0].token_ids[4]
        sampling = Sampling(max_new_tokens=9, stop_tokens=(token,))
        (group,) = LocalEngine(text_policy).generate(
            text_examples[:1], group_size=1, sampling=sampling, seed_keys=["key-t0"]
        )
        (c,) = group.completions
        assert c.token_ids[-1] == token
        assert c.finish_reason == "stop"
        assert c.token_ids == free.completions[0].token_ids[: len(c.token_ids)]

    def test_a_version_is_stamped_on_what_it_sampled(self, text_policy, text_examples):
        engine = LocalEngine(text_policy)
        engine.sync({}, 7)
        sampling = Sampling(max_new_tokens=1)
        (group,) = engine.generate(text_examples[:1], group_size=1, sampling=sampling, seed_keys=["k"])
        assert group.completions[0].policy_version == 7


def test_a_prompt_is_encoded_once_for_its_whole_group(vl_policy, vl_examples):
    calls: list[int] = []
    vl_policy.model.model.visual.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    prompts = [vl_policy.encode(example) for example in vl_examples]
    generate(vl_policy, vl_examples, temperature=1.0, group_size=8, tokens=3)
    assert sum(calls) == sum(len(prompt.pixel_values) for prompt in prompts if prompt.pixel_values is not None)
