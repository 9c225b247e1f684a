"""The embedded base: small, real, and what its recipe says it is."""

import json

import torch

from groundrl.experiments.bench.tiny_model import build_config, build_tokenizer
from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.model import BASE
from groundrl.rollout.model.policy import Policy


def test_it_is_under_8_mb():
    assert sum(file.stat().st_size for file in BASE.iterdir()) < 8_000_000


def test_plain_transformers_loads_it():
    from transformers import AutoModelForImageTextToText, Qwen3VLForConditionalGeneration

    model = AutoModelForImageTextToText.from_pretrained(BASE)
    assert isinstance(model, Qwen3VLForConditionalGeneration)
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 1.5e6


def test_its_tokenizer_and_architecture_are_those_of_the_code():
    tokenizer = build_tokenizer()
    ours = Policy.load(BASE)
    text = "2 nuclei <box>[[010, 012, 080, 095], [100, 200, 300, 400]]</box> déjà vu\n"
    assert ours.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert ours.tokenizer.get_vocab() == tokenizer.get_vocab()
    assert ours.tokenizer.chat_template == tokenizer.chat_template
    built, stored = build_config(tokenizer).to_dict(), json.loads((BASE / "config.json").read_text())
    for section in ("text_config", "vision_config"):
        for key in ("hidden_size", "num_hidden_layers", "depth", "vocab_size", "patch_size"):
            assert built[section].get(key) == stored[section].get(key)


def test_its_recipe_sees_rendered_cells_alone():
    config = load_config("base", {})[0]
    assert config.model.init == "random"
    assert [stage.kind for stage in config.stages] == ["sft"] * len(config.stages)
    assert config.data.train == "cells/rendered"


def test_random_init_is_seeded_and_not_the_base():
    first, again, other = (Policy.load(BASE, init="random", seed=seed).model for seed in (1, 1, 2))
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], Policy.load(BASE).model.state_dict()[name])
