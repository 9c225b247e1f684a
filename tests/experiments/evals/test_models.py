"""Which engine answers for which model; Qwen2.5-VL through the local one."""

import pytest
import torch
from transformers import LlavaConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from groundrl.experiments.bench.tiny_model import build_tokenizer
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.evals.models import checkpoint_of, open_engine, weights_stamp
from groundrl.rollout.model.private import qwen_image_processor
from groundrl.rollout.sampling.endpoint import EndpointEngine
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling


@pytest.fixture(scope="module")
def qwen25(tmp_path_factory):
    """A Qwen2.5-VL folder with random weights."""
    folder, tokenizer = tmp_path_factory.mktemp("models") / "qwen25", build_tokenizer()
    token = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + 6,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 256,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 8,
            "out_hidden_size": 32,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2_5_VLForConditionalGeneration(config)
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.data.normal_(std=0.2)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    qwen_image_processor(
        patch_size=8, merge_size=2, size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128}
    ).save_pretrained(folder)
    return folder


def test_qwen25_answers_as_its_own_generate(qwen25, vl_examples):
    engine = open_engine(str(qwen25), batch_size=4)
    assert isinstance(engine, LocalEngine)
    sampling = Sampling(max_new_tokens=6, temperature=0.0)
    groups = engine.generate(vl_examples, group_size=1, sampling=sampling, seed_keys=["0"] * len(vl_examples))
    policy = engine.policy
    never = [[int(token)] for token in (~policy.allowed).nonzero()[:, 0]]
    for group in groups:
        prompt = policy.encode(group.example)
        images = {} if prompt.pixel_values is None else {"pixel_values": prompt.pixel_values}
        images |= {} if prompt.image_grid_thw is None else {"image_grid_thw": prompt.image_grid_thw}
        found = policy.model.generate(
            input_ids=prompt.ids[None],
            attention_mask=torch.ones_like(prompt.ids)[None],
            mm_token_type_ids=prompt.image_tokens[None].int(),
            max_new_tokens=6,
            do_sample=False,
            bad_words_ids=never,
            **images,
        )
        mine = group.completions[0].token_ids
        assert list(mine) == found[0, len(prompt) : len(prompt) + len(mine)].tolist()


def test_a_served_model_is_named_with_its_address():
    engine = open_engine("gpt-4.1@http://127.0.0.1:9/v1", batch_size=4)
    assert isinstance(engine, EndpointEngine)
    assert (engine.model, engine.client.endpoint.base_url) == ("gpt-4.1", "http://127.0.0.1:9/v1")
    assert weights_stamp("gpt-4.1@http://127.0.0.1:9/v1") is None


def test_base_and_folders_have_a_stamp_of_their_weights(tmp_path):
    assert checkpoint_of("base").endswith("experiments/base")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    before = weights_stamp(str(tmp_path))
    assert before == weights_stamp(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"22")
    assert weights_stamp(str(tmp_path)) != before


def test_a_folder_without_a_processor_or_a_configuration_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot be loaded as a Hugging Face checkpoint"):
        open_engine(str(tmp_path), batch_size=4)
    LlavaConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="the processor of 'llava' cannot be loaded"):
        open_engine(str(tmp_path), batch_size=4)
