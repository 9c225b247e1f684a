"""The three forms of an update compute the same log-probs and gradients, and are refused where they would not."""

from functools import wraps

import pytest
import torch
import transformers
from peft import LoraConfig, inject_adapter_in_model

from groundrl.experiments.bench.tiny_model import build_tokenizer
from groundrl.rewards import Completion, GroundRLWarning
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.costs import Costs
from groundrl.rollout.forward.forms import BUILD, _values, update_faults
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.forward.planner import Planner
from groundrl.rollout.forward.prefix_cache import prefix_batch
from groundrl.rollout.forward.shared_prompt import pack_batch
from groundrl.rollout.model.policy import Policy

SHARED = [form for form in BUILD if form != "padded"]
RAGGED = [[9, 8, 7], [6], [5, 4, 3, 2, 1], [1, 1], [2, 3, 4, 5], [11]]
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
WIDE = {"initializer_range": 0.2}


def completion(ids) -> Completion:
    return Completion(text="", token_ids=tuple(ids), sampled=(True,) * len(ids), logprobs=(0.0,) * len(ids))


def learned(policy: Policy, batch, **module):
    """Log-probs and entropies, and the gradient of all weights that learn."""
    policy.model.zero_grad(set_to_none=True)
    logprobs, entropy = CompletionLogprobs(policy, temperature=0.7, **module)(batch)
    (logprobs.square().sum() + (entropy.sum() if entropy.requires_grad else 0.0)).backward()
    named = {n: p.grad.clone() for n, p in policy.model.named_parameters() if p.grad is not None}
    return logprobs.detach(), entropy.detach(), named


def assert_equal_to_padded(policy: Policy, prompts, form: str, **module) -> None:
    """Three ragged completions of each prompt; gradients to 1e-5 of their norm."""
    rows = [prompt for prompt in prompts for _ in range(3)]
    completions = (RAGGED * 2)[: len(rows)]
    expected = learned(policy, pad_batch(policy, rows, completions), **module)
    found = learned(policy, BUILD[form](policy, rows, completions), **module)
    torch.testing.assert_close(found[:2], expected[:2], rtol=0, atol=1e-5)
    assert found[2].keys() == expected[2].keys()
    whole = torch.cat([gradient.flatten() for gradient in expected[2].values()])
    difference = torch.cat([(found[2][n] - gradient).flatten() for n, gradient in expected[2].items()])
    assert whole.norm() > 1e-2
    assert difference.norm() < 1e-5 * whole.norm()


@pytest.fixture
def wide_vl(vl_policy: Policy) -> Policy:
    for parameter in vl_policy.model.model.language_model.layers.parameters():
        if parameter.dim() > 1:
            parameter.data *= 5
    return vl_policy


@pytest.fixture
def prompts(wide_vl, vl_examples):
    """One image, two, none, and a long prompt with one."""
    return [wide_vl.encode(example) for example in vl_examples]


@pytest.mark.parametrize("form", SHARED)
class TestEqual:
    @pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2", "cohere", "granite"])
    def test_text(self, text_model, text_examples, form, kind):
        """With the head's scale (Cohere), divisor (Granite) and learned positions (GPT-2)."""
        fields = {**SMALL, **WIDE}
        config = {
            "llama": lambda: transformers.LlamaConfig(**fields),
            "qwen3": lambda: transformers.Qwen3Config(**fields, head_dim=8),
            "gpt2": lambda: transformers.GPT2Config(
                vocab_size=500, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=None, **WIDE
            ),
            "cohere": lambda: transformers.CohereConfig(**fields, logit_scale=4.0),
            "granite": lambda: transformers.GraniteConfig(**fields, logits_scaling=3.0),
        }[kind]()
        policy = Policy.load(text_model(config))
        assert Planner(CompletionLogprobs(policy, temperature=1.0), update="auto", tokens=100).forms == tuple(BUILD)
        assert_equal_to_padded(policy, [policy.encode(example) for example in text_examples], form)

    def test_qwen3_vl_with_one_image_two_and_none(self, wide_vl, prompts, form):
        assert_equal_to_padded(wide_vl, prompts, form, entropy_grad=True)

    def test_a_frozen_vision_tower(self, wide_vl, prompts, form):
        wide_vl.model.model.visual.requires_grad_(False)
        assert_equal_to_padded(wide_vl, prompts, form)

    def test_lora(self, wide_vl, prompts, form):
        """Adapters on attention, MLP and head; B is not zero, so that they matter."""
        targets = r".*language_model.*(q_proj|v_proj|up_proj)|lm_head"
        inject_adapter_in_model(LoraConfig(r=4, target_modules=targets), wide_vl.model)
        for name, parameter in wide_vl.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
        learning = [name for name, parameter in wide_vl.model.named_parameters() if parameter.requires_grad]
        assert learning
        assert all("lora" in name for name in learning)
        assert_equal_to_padded(wide_vl, prompts, form)

    def test_completions_of_one_token(self, wide_vl, prompts, form):
        """Nothing is read but the prompt."""
        rows = [prompts[1]] * 2
        expected = learned(wide_vl, pad_batch(wide_vl, rows, [[7], [9]]))[0]
        found = learned(wide_vl, BUILD[form](wide_vl, rows, [[7], [9]]))[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

    def test_chunks_of_the_head_change_nothing(self, wide_vl, prompts, form, monkeypatch):
        monkeypatch.setattr("groundrl.rollout.forward.logprobs.CHUNK_TOKENS", 3)
        monkeypatch.setattr("groundrl.rollout.forward.logprobs.CHUNK_LOGITS", 1)
        assert_equal_to_padded(wide_vl, prompts, form)
        assert_equal_to_padded(wide_vl, prompts, form, entropy_grad=True)

    def test_tokens_that_were_not_sampled_are_left_out(self, wide_vl, prompts, form):
        sampled = [[True, False, True], [True]]
        batch = BUILD[form](wide_vl, [prompts[0]] * 2, [[5, 6, 7], [8]], sampled=sampled)
        assert batch.completion_mask.tolist() == [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
        logprobs, _ = CompletionLogprobs(wide_vl, temperature=1.0)(batch)
        assert (logprobs != 0).tolist() == [[True, False, True], [True, False, False]]


def test_a_packed_row_and_its_positions(text_policy, text_examples):
    prompt = text_policy.encode(text_examples[0])
    batch = pack_batch(text_policy, [prompt, prompt], [[11, 12, 13], [21]])
    length = len(prompt)
    assert batch.input_ids.tolist() == [[*prompt.ids.tolist(), 11, 12]], "what predicts nothing is not read"
    assert batch.position_ids[0, 0, -2:].tolist() == [length, length + 1]
    assert batch.source.tolist() == [[length - 1, length, length + 1], [length - 1, 0, 0]]


def test_the_prompt_is_read_once_whatever_the_group(text_policy, text_examples):
    """Tokens that pass the first layer: the prompt and what the completions add."""
    prompt = text_policy.encode(text_examples[1])
    seen = []
    text_policy.model.model.layers[0].register_forward_hook(lambda m, i, out: seen.append(out.shape[0] * out.shape[1]))
    logprobs = CompletionLogprobs(text_policy, temperature=1.0)
    for form in SHARED:
        seen.clear()
        logprobs(BUILD[form](text_policy, [prompt] * 4, [[1, 2, 3, 4]] * 4))
        assert sum(seen) == len(prompt) + 4 * 3


def planner(policy: Policy, update="auto", tokens=1000) -> Planner:
    return Planner(CompletionLogprobs(policy, temperature=1.0), update=update, tokens=tokens)


class TestTrust:
    """Each falls back to padded with one warning that says why; forced, it is refused."""

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("flash", "its attention is flash_attention_2, not sdpa"),
            ("eager", "its attention is eager, not sdpa"),
            ("sliding", r"not all of its layers attend to all tokens before them \(DynamicSlidingWindowLayer\)"),
            ("recurrent", "its layers keep no keys and values"),
            ("bidirectional", "its tokens attend to what follows them"),
        ],
    )
    def test_architectures_that_cannot(self, text_model, kind, reason):
        config = {
            "sliding": lambda: transformers.MistralConfig(**SMALL, sliding_window=8),
            "recurrent": lambda: transformers.MambaConfig(
                vocab_size=500, hidden_size=32, num_hidden_layers=2, state_size=4, bos_token_id=None
            ),
            "bidirectional": lambda: transformers.Gemma3TextConfig(
                **SMALL, head_dim=8, layer_types=["full_attention"] * 2, use_bidirectional_attention=True
            ),
        }.get(kind, lambda: transformers.LlamaConfig(**SMALL))()
        policy = Policy.load(text_model(config))
        if kind in ("flash", "eager"):
            policy.model.config._attn_implementation = "eager"
            logprobs = CompletionLogprobs(policy, temperature=1.0)
            policy.model.config._attn_implementation = {"flash": "flash_attention_2"}.get(kind, kind)
        else:
            logprobs = CompletionLogprobs(policy, temperature=1.0)
        with pytest.warns(GroundRLWarning, match=f"computes the prompt again .* {reason}"):
            assert Planner(logprobs, update="auto", tokens=100).forms == ("padded",)
        with pytest.raises(ValueError, match=f"update: packed is not possible with this model: {reason}"):
            Planner(logprobs, update="packed", tokens=100)

    def test_images_that_attend_both_ways(self):
        """Gemma 3, whose image tokens see those after them."""
        config = transformers.Gemma3Config(
            text_config={**SMALL, "head_dim": 8, "layer_types": ["full_attention"] * 2},
            vision_config={
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 16,
                "patch_size": 8,
            },
            mm_tokens_per_image=4,
            image_token_id=490,
        )
        policy = Policy(transformers.Gemma3ForConditionalGeneration(config), build_tokenizer(), None)
        with pytest.warns(GroundRLWarning, match="the tokens of an image may attend to each other both ways"):
            assert planner(policy).forms == ("padded",)

    def test_checkpointing_leaves_only_the_form_without_a_cache(self, wide_vl, prompts):
        """transformers drops the cache without a word, so that completions would not see their prompt."""
        wide_vl.model.activation_checkpointing_enable()
        assert planner(wide_vl).forms == ("padded", "packed")
        with pytest.raises(
            ValueError, match=r"update: prefix is not possible .* gradient checkpointing drops the cache"
        ):
            planner(wide_vl, update="prefix")
        wide_vl.model.train()
        pair = [completion([5, 6, 7]), completion([8, 9])]
        faults = update_faults(CompletionLogprobs(wide_vl, temperature=1.0), SHARED, prompts[1], pair)
        assert faults["packed"] is None
        assert faults["prefix"].startswith("prefix stops with RuntimeError"), "the check would have seen it too"

    def test_too_little_memory_is_no_fault_of_a_form(self, wide_vl, prompts, monkeypatch):
        """Dropped for that, every later update would be slower without a word; the run stops and says what to lower."""

        def full(*arguments, **keys):
            raise torch.OutOfMemoryError("CUDA out of memory.")

        monkeypatch.setitem(BUILD, "packed", full)
        pair = [completion([5, 6, 7]), completion([8, 9])]
        with pytest.raises(torch.OutOfMemoryError):
            update_faults(CompletionLogprobs(wide_vl, temperature=1.0), ["packed"], prompts[1], pair)

    def test_the_check_sees_gradients_of_a_fresh_adapter(self, wide_vl, prompts):
        """Its A has none, since its B is zero: that of B is compared."""
        inject_adapter_in_model(LoraConfig(r=4, target_modules=r".*language_model.*q_proj"), wide_vl.model)
        values = _values(CompletionLogprobs(wide_vl, temperature=1.0), "padded", prompts[1], [completion([5, 6, 7])])
        assert values[1].abs().max() > 0

    def test_a_form_that_is_wrong_is_found_on_the_first_window(self, wide_vl, prompts, monkeypatch):
        """Completions at positions that go on from one another, and, as bad, gradients that stop at the prompt."""

        def continued(policy, *arguments, **keywords):
            batch = pack_batch(policy, *arguments, **keywords)
            batch.position_ids += batch.segments
            return batch

        def cut_off(policy, *arguments, **keywords):
            batch = prefix_batch(policy, *arguments, **keywords)
            hidden = type(batch).hidden
            monkeypatch.setattr(type(batch), "hidden", lambda self, policy: hidden(self, policy).detach() + 0 * keep)
            return batch

        keep = next(wide_vl.model.model.language_model.parameters()).sum()
        monkeypatch.setattr(
            "groundrl.rollout.forward.forms.BUILD", {**BUILD, "packed": continued, "prefix_joined": cut_off}
        )
        plan = planner(wide_vl)
        plan.forms = ("padded", "packed", "prefix_joined")
        with pytest.warns(GroundRLWarning, match="because with this model packed gives log-probs that differ by"):
            plan.settle([prompts[0]], [[completion([5, 6, 7]), completion([8])]], lambda vector: vector[None])
        assert plan.forms == ("padded",)

    def test_a_window_of_a_sound_model_is_trusted_once(self, wide_vl, prompts):
        plan = planner(wide_vl)
        groups = [[completion([5, 6, 7]), completion([8])]] * len(prompts)
        before = {n: p.grad for n, p in wide_vl.model.named_parameters()}
        plan.settle(prompts, groups, lambda vector: vector[None])
        assert plan.forms == tuple(BUILD)
        assert before == {n: p.grad for n, p in wide_vl.model.named_parameters()}, "no gradient is left behind"
        plan.settle([], [], lambda vector: vector[None])  # not again

    def test_what_another_process_found_counts(self, wide_vl, prompts):
        plan = planner(wide_vl)
        groups = [[completion([5, 6, 7]), completion([8])]]
        plan.settle(prompts[:1], groups, lambda vector: torch.stack([vector, torch.tensor([1.0, 0.0, 0.0])]))
        assert plan.forms == ("padded", "prefix", "prefix_joined")

    def test_a_head_that_is_not_known_leaves_the_models_own_logits(self, text_policy, text_examples, monkeypatch):
        forward = text_policy.model.forward

        @wraps(forward)
        def tripled(**inputs):
            out = forward(**inputs)
            out.logits = out.logits * 3
            return out

        monkeypatch.setattr(text_policy.model, "forward", tripled)
        logprobs = CompletionLogprobs(text_policy, temperature=3.0)
        assert not logprobs.splits_head
        with pytest.warns(GroundRLWarning, match="its logits are not those of its head"):
            assert Planner(logprobs, update="auto", tokens=100).forms == ("padded",)
        batch = pad_batch(text_policy, [text_policy.encode(text_examples[0])], [[5, 6]])
        found = logprobs(batch)
        monkeypatch.setattr(text_policy.model, "forward", forward)
        torch.testing.assert_close(found, CompletionLogprobs(text_policy, temperature=1.0)(batch))


class TestPlans:
    COSTS = Costs(token=2 * 106e6, pair=4 * 1.5 * 30 * 576, column=50 * 2 * 30 * 576, call=30 * 1e7)

    @pytest.mark.parametrize(("prompt", "completion", "group", "gain"), [(512, 32, 8, 4.5), (1024, 32, 16, 8.0)])
    def test_long_prompts_are_shared(self, prompt, completion, group, gain):
        groups = [(prompt, [completion] * group)]
        assert min(self.COSTS.prefix(groups), self.COSTS.prefix_joined(groups)) < self.COSTS.padded(groups) / gain
        assert self.COSTS.packed(groups) > self.COSTS.prefix_joined(groups)

    def test_long_completions_after_a_short_prompt_do_not_stand_in_one_row(self):
        """The row's attention grows with 8 * 160, and there is hardly a prompt to share."""
        groups = [(21, [160] * 8)]
        assert self.COSTS.packed(groups) > 1.3 * self.COSTS.padded(groups)
        assert self.COSTS.prefix_joined(groups) > 1.3 * self.COSTS.padded(groups)

    def test_a_mask_costs_the_pairs_that_it_hides(self):
        """Ragged rows need one; equal rows of a causal model do not."""
        equal, ragged = self.COSTS.padded([(20, [320, 320])]), self.COSTS.padded([(20, [320, 319])])
        assert ragged - equal == pytest.approx(self.COSTS.pair * 340**2)

    def test_micro_batches_hold_every_row_once_within_the_budget(self, text_policy, text_examples):
        prompts = [text_policy.encode(example) for example in text_examples]
        groups = [[completion([1] * (1 + n % 3)) for n in range(4)] for _ in prompts]
        for update in ("padded", "packed", "prefix", "auto"):
            for tokens in (1, 30, 80, 1000):
                batches = list(planner(text_policy, update=update, tokens=tokens).batches(prompts, groups))
                assert sorted(row for rows, _ in batches for row in rows) == list(range(12))
                for rows, batch in batches:
                    lengths = [len(groups[row // 4][row % 4].token_ids) for row in rows]
                    assert batch.completion_mask.sum(dim=1).tolist() == lengths
                    used = sum(lengths) + sum(len(prompts[index]) for index in {row // 4 for row in rows})
                    assert used <= tokens or len(rows) == 1

    @pytest.mark.parametrize("update", ["padded", "packed", "prefix"])
    def test_an_example_that_comes_twice_is_two_groups(self, text_policy, text_examples, update):
        first, second = (text_policy.encode(example) for example in text_examples[:2])
        groups = [[completion([k, 5, 6]), completion([7, k])] for k in (1, 2, 3)]
        plan = planner(text_policy, update=update)
        values = torch.zeros(6, 3)
        for rows, batch in plan.batches([first, second, first], groups):
            found = plan.logprobs(batch)[0].detach()
            values[rows, : found.shape[1]] = found
        for row in range(6):
            prompt, ids = (first, second, first)[row // 2], groups[row // 2][row % 2].token_ids
            alone = plan.logprobs(pad_batch(text_policy, [prompt], [ids]))[0][0].detach()
            torch.testing.assert_close(values[row, : len(ids)], alone, rtol=0, atol=1e-5)
