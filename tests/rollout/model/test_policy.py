"""Loading a checkpoint, encoding prompts as transformers would, and clear errors for what cannot work."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers

from groundrl.rewards import DataError, Example, GroundRLWarning
from groundrl.rollout.model.policy import Policy


class TestEncoding:
    def test_a_template_is_rendered_and_tokenised_as_transformers_does(self, text_policy):
        turns = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Yes or no?"})
        prompt = text_policy.encode(Example(id="e", messages=turns))
        expected = text_policy.tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, return_dict=False)
        assert prompt.ids.tolist() == expected
        assert text_policy.tokenizer.decode(prompt.ids).endswith("<|im_start|>assistant\n")
        assert prompt.position_ids.tolist() == [list(range(len(expected)))]

    def test_template_arguments_reach_the_template(self, tiny_text):
        policy = Policy.load(tiny_text, chat_template_kwargs={"enable_thinking": False})
        policy.tokenizer.chat_template = "{{ 'off' if not enable_thinking else 'on' }}"
        assert policy.tokenizer.decode(policy.encode(Example(id="e", prompt="x")).ids) == "off"

    def test_without_a_template_the_prompt_is_plain_text_and_one_warning_says_so(self, text_model):
        from transformers import Qwen2Config

        config = {"vocab_size": 500, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        folder = text_model(
            Qwen2Config(**config, num_attention_heads=2, num_key_value_heads=2, bos_token_id=None), chat_template=False
        )
        with pytest.warns(GroundRLWarning, match="no chat template: prompts are given to the model as plain") as warned:
            policy = Policy.load(folder)
        assert len([warning for warning in warned if warning.category is GroundRLWarning]) == 1
        prompt = policy.encode(Example(id="e", prompt="Yes or no?"))  # a warning here would be an error
        assert policy.tokenizer.decode(prompt.ids) == "Yes or no?"

    def test_plain_text_gets_the_start_token_that_a_template_would_write(self, text_model, monkeypatch):
        """A base model's tokenizer (Llama, Gemma) adds its start token to plain text, and not behind a template."""
        from tokenizers.processors import TemplateProcessing
        from transformers import LlamaConfig

        config = {"vocab_size": 500, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        folder = text_model(LlamaConfig(**config, num_attention_heads=2, bos_token_id=None), chat_template=False)
        with pytest.warns(GroundRLWarning):
            policy = Policy.load(folder)
        start = policy.tokenizer.convert_tokens_to_ids("<|im_start|>")
        policy.tokenizer._tokenizer.post_processor = TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", start)]
        )
        assert policy.encode(Example(id="plain", prompt="yes")).ids[0] == start
        assert policy.encode_answer("yes")[0] != start
        policy.tokenizer.chat_template = "{{ messages[0]['content'] }}"
        assert policy.encode(Example(id="template", prompt="yes")).ids[0] != start

    def test_image_tokens_and_positions_are_those_of_the_model(self, vl_policy, vl_examples):
        """64 x 48 pixels are 8 x 6 patches, merged 2 x 2: 12 tokens. Positions against the model's own, from ids."""
        for example in vl_examples:
            prompt = vl_policy.encode(example)
            merged = [int(t * h * w) // 4 for t, h, w in prompt.image_grid_thw.tolist()] if example.images else []
            assert int(prompt.image_tokens.sum()) == sum(merged)
            expected = torch.arange(len(prompt)).expand(3, -1)
            if example.images:
                token_types = (prompt.ids == vl_policy.model.config.image_token_id)[None].int()
                expected = vl_policy.model.model.get_rope_index(
                    prompt.ids[None], mm_token_type_ids=token_types, image_grid_thw=prompt.image_grid_thw
                )[0][:, 0]
            assert torch.equal(prompt.position_ids, expected)

    def test_pixels_are_the_processors(self, vl_policy, vl_examples):
        from groundrl.rollout.io.pictures import open_image

        two = vl_examples[1]
        pictures = [open_image(image, two.id) for image in two.images]
        expected = vl_policy.image_processor(images=pictures, return_tensors="pt")
        prompt = vl_policy.encode(two)
        assert torch.equal(prompt.pixel_values, expected["pixel_values"])
        assert torch.equal(prompt.image_grid_thw, expected["image_grid_thw"])

    def test_a_prompt_is_encoded_anew_where_an_example_of_the_same_name_differs(self, text_policy):
        one, other = (text_policy.encode(Example(id="same", prompt=text)) for text in ("yes", "no"))
        assert one.ids.tolist() != other.ids.tolist()

    def test_an_answer_ends_with_the_end_token_and_decodes_without_it(self, text_policy):
        ids = text_policy.encode_answer("3 nuclei <box>[[1, 2, 3, 4]]</box>")
        assert ids[-1] == text_policy.tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert text_policy.decode(ids) == "3 nuclei <box>[[1, 2, 3, 4]]</box>"
        assert text_policy.decode([*ids[:-1], text_policy.tokenizer.convert_tokens_to_ids("<|im_start|>")]).endswith(
            "</box><|im_start|>"
        ), "a special token inside an answer stays visible"

    def test_every_end_token_of_the_generation_config_ends_an_answer(self, vl_policy):
        token = vl_policy.tokenizer.convert_tokens_to_ids
        assert vl_policy.end_ids == (token("<|im_end|>"), token("<|endoftext|>"))


class TestFaultyExamples:
    def test_a_prompt_longer_than_the_context_says_what_to_do(self, text_policy):
        example = Example(id="e7", prompt="1" * 115)
        assert len(text_policy.encode(example)) < 128
        with pytest.raises(DataError, match=r"example 'e7': \d+ prompt tokens and 20 for the answer .* of 128;"):
            text_policy.encode(example, reserve=20)

    def test_an_image_for_a_text_model_is_refused(self, text_policy, image):
        with pytest.raises(DataError, match=r"example 'e7' has 1 image\(s\), but the model reads text only"):
            text_policy.encode(Example(id="e7", prompt="x", images=(image(),)))

    def test_the_models_own_image_token_in_a_text_is_refused(self, vl_policy, image):
        with pytest.raises(DataError, match="example 'e7': the chat template made 2 image places for 1 images"):
            vl_policy.encode(Example(id="e7", prompt="<|image_pad|>", images=(image(),)))


class TestLoading:
    def test_bfloat16_keeps_float32_weights(self, tiny_vl):
        assert {p.dtype for p in Policy.load(tiny_vl, dtype="bfloat16").model.parameters()} == {torch.float32}

    def test_a_random_start_depends_on_the_seed_alone(self, tiny_vl):
        torch.manual_seed(5)
        one, other, third = (Policy.load(tiny_vl, init="random", seed=seed) for seed in (1, 1, 2))
        drawn = torch.rand(1)
        torch.manual_seed(5)
        assert torch.equal(drawn, torch.rand(1)), "the caller's generator is left alone"
        weights = [policy.model.state_dict()["lm_head.weight"] for policy in (one, other, third)]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])

    def test_a_saved_folder_loads_again_with_everything(self, vl_policy, vl_examples, tmp_path):
        vl_policy.save(tmp_path / "saved")
        again = Policy.load(tmp_path / "saved")
        assert again.end_ids == vl_policy.end_ids
        for example in vl_examples:
            assert torch.equal(again.encode(example).ids, vl_policy.encode(example).ids)
        ours, theirs = again.model.state_dict(), vl_policy.model.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)

    def test_a_folder_that_is_no_checkpoint_is_named(self, tmp_path):
        with pytest.raises(ValueError, match=f"{tmp_path} is not a checkpoint: it has no config.json"):
            Policy.load(tmp_path)

    def test_a_config_that_cannot_be_read_is_named(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_thing"}))
        with pytest.raises(ValueError, match=f"{tmp_path} cannot be loaded as a Hugging Face checkpoint"):
            Policy.load(tmp_path)

    @pytest.mark.parametrize("gone", ["model.safetensors", "tokenizer.json", "preprocessor_config.json"])
    def test_a_missing_part_is_named(self, tiny_vl, tmp_path, gone):
        folder = shutil.copytree(tiny_vl, tmp_path / "copy")
        (folder / gone).unlink()
        with pytest.raises(ValueError, match=r"copy .*"):
            Policy.load(folder)

    def test_another_vision_architecture_is_named(self, tmp_path, tiny_text):
        folder = shutil.copytree(tiny_text, tmp_path / "copy")
        transformers.CLIPConfig().save_pretrained(folder)
        with pytest.raises(ValueError, match=r"vision architecture 'clip'; supported are the Qwen-VL models"):
            Policy.load(folder)


def test_a_vision_model_reads_text_only_prompts_beside_images(vl_policy, vl_examples):
    """The third example has no image: its logits must not depend on the images of its neighbours."""
    from groundrl.rollout.forward.batches import pad_batch

    prompts = [vl_policy.encode(example) for example in vl_examples]
    with torch.no_grad():
        together = vl_policy.model(**pad_batch(vl_policy, prompts, [[]] * 4).model_inputs(vl_policy)).logits[2, -1]
        alone = vl_policy.model(**pad_batch(vl_policy, prompts[2:3], [[]]).model_inputs(vl_policy)).logits[0, -1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
