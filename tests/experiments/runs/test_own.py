"""A user's own model, data and reward: any causal architecture, text alone, one image or two."""

import json
from contextlib import nullcontext

import pytest
from PIL import Image

from groundrl.experiments import train
from groundrl.rewards import GroundRLWarning

RL = {"name": "rl", "kind": "rl", "steps": 2, "prompts_per_step": 2, "group_size": 2, "max_new_tokens": 8, "lr": 1e-3}
SFT = {"name": "sft", "kind": "sft", "steps": 2, "batch_size": 2, "lr": 1e-3}
REWARD = """
from groundrl.rewards import reward

@reward(range=(0, 1))
def no_digits(completion, example):
    return 1.0 - sum(c.isdigit() for c in completion.text) / max(1, len(completion.text))
"""
ODD = """
from groundrl.rewards import reward

@reward(range=(0, 1))
def no_digits(completion, example):
    return float(len(completion.text) % 2 == int(example.reference.label))
"""


def config(folder, model, lines, **changes):
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "mine.py").write_text(REWARD)
    content = {
        "name": "own",
        "model": {"path": str(model)},
        "data": {"train": str(folder / "train.jsonl")},
        "reward": f"{folder / 'mine.py'}:no_digits",
        "audit": "off",  # a toy, which pays an empty answer as much as any
        "stages": [SFT, RL],
    }
    return content | changes


TEXT = [{"id": f"t{k}", "prompt": f"How many nuclei? {k}", "answer": "yes" * (k + 1)} for k in range(4)]


def architectures():
    from transformers import Gemma2Config, GPT2Config, LlamaConfig, Qwen2Config

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    small |= {"vocab_size": 512, "num_key_value_heads": 2, "max_position_embeddings": 128}
    return {
        "llama": LlamaConfig(**small),
        "qwen2": Qwen2Config(**small),
        "gemma2": Gemma2Config(**small, head_dim=8, sliding_window=64),
        "gpt2": GPT2Config(vocab_size=512, n_positions=128, n_embd=32, n_layer=2, n_head=4),
    }


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2", "gpt2"])
def test_a_text_model_with_a_text_file_and_a_reward_file(name, text_model, tmp_path):
    model = text_model(architectures()[name])
    eager = pytest.warns(GroundRLWarning, match="attention is eager, not sdpa") if name == "gemma2" else nullcontext()
    with eager:
        run = train(config(tmp_path, model, TEXT), runs=tmp_path / "runs", progress=False)
    assert len(run.metrics) == 4
    assert run.metrics[-1]["sampler_gap"] < 1e-5
    assert "def no_digits" in (run.folder / "reward.py").read_text()


def test_without_a_chat_template_prompts_are_plain_text_and_it_says_so(text_model, tmp_path):
    model = text_model(architectures()["llama"], chat_template=False)
    with pytest.warns(GroundRLWarning, match="no chat template") as caught:
        run = train(config(tmp_path, model, TEXT, stages=[RL]), runs=tmp_path / "runs", progress=False)
    assert len(caught) == 1
    assert len(run.metrics) == 2


def test_qwen3_vl_with_one_and_two_images_a_prompt(tiny_vl, tmp_path):
    for k in range(3):
        Image.new("RGB", (48 + 16 * k, 48), (60 * k, 90, 30)).save(tmp_path / f"{k}.png")
    lines = [
        {"id": "one", "prompt": "What is it?", "images": ["0.png"], "answer": "yes"},
        {"id": "two", "prompt": "Is <image> as <image>?", "images": ["1.png", "2.png"], "answer": "no"},
        {"id": "none", "prompt": "yes or no?", "answer": "no"},
    ]
    run = train(config(tmp_path, tiny_vl, lines), runs=tmp_path / "runs", progress=False)
    assert {row["example_id"] for row in run.rollouts.to_pylist()} <= {"one", "two", "none"}
    assert run.metrics[-1]["sampler_gap"] < 1e-5


def test_two_examples_of_one_id_are_scored_and_shown_as_two(tiny_text, tmp_path):
    lines = [
        {"id": "q", "prompt": "yes or no?", "answer": "yes", "reference": truth, "block": truth} for truth in ("0", "1")
    ]
    content = config(tmp_path, tiny_text, lines, stages=[RL])
    content["data"]["test"] = content["data"]["train"]
    content["evaluation"] = {"samples_per_example": 1, "max_new_tokens": 4}
    (tmp_path / "mine.py").write_text(ODD)
    run = train(content, runs=tmp_path / "runs", progress=False)
    assert run.evaluation["num_examples"] == 2
    rows = run.rescore(run.reward_of(content["reward"])).rows
    assert {row["example_id"] for row in rows} == {"q", "q#2"}
    assert {row["old"] for row in rows} == {0.0, 1.0}
    assert all(row["old"] == row["new"] for row in rows)


def test_faulty_examples_are_skipped_and_listed(tiny_vl, tmp_path):
    Image.new("RGB", (48, 48)).save(tmp_path / "0.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    lines = [
        {"id": "good", "prompt": "What?", "images": ["0.png"], "answer": "yes"},
        {"id": "torn", "prompt": "What?", "images": ["torn.png"], "answer": "yes"},
        {"id": "gone", "prompt": "What?", "images": ["nowhere.png"], "answer": "yes"},
    ]
    content = config(tmp_path, tiny_vl, lines)
    with pytest.raises(ValueError, match=r"(torn|gone).*(torn|nowhere)\.png"):
        train(content, runs=tmp_path / "raise", progress=False)
    content["data"]["on_error"] = "skip"
    run = train(content, runs=tmp_path / "runs", progress=False)
    skipped = json.loads((run.folder / "skipped.json").read_text())
    assert {index for stage in skipped.values() for index in stage} == {"1", "2"}
    assert "nowhere.png" in skipped["sft"]["2"]


def test_reward_processes_score_as_this_one_does(tiny_text, tmp_path):
    totals = {}
    for workers in (0, 1):
        stages = [{**RL, "steps": 1, "reward_workers": workers}]
        run = train(config(tmp_path, tiny_text, TEXT, stages=stages), runs=tmp_path / str(workers), progress=False)
        totals[workers] = [row["reward"] for row in run.rollouts.to_pylist()]
        assert run.metrics[0]["completions/error"] == 0
    assert totals[0] == totals[1]
    assert len(totals[1]) == 4
