"""A sweep in miniature: a random two-layer text model, four questions, rewards that differ within every group."""

import json
from pathlib import Path

import pytest
import yaml

REWARDS = """
import os
from groundrl.rewards import reward

@reward(range=(0, 1))
def even(completion, example):
    return sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids)

@reward(range=(0, 1))
def short(completion, example):
    return 1 / len(completion.token_ids)

@reward(range=(0, 1))
def raises(completion, example):
    raise ZeroDivisionError("on purpose")

@reward(range=(0, 1))
def dies(completion, example):
    os._exit(7)
"""
SFT = {"name": "sft", "kind": "sft", "steps": 2, "batch_size": 2, "lr": 1e-3, "checkpoint_every": 1}
RL = {"name": "rl", "kind": "rl", "steps": 3, "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 6, "lr": 1e-2}


@pytest.fixture(scope="session")
def tiny_sweep(tmp_path_factory, tiny_text) -> Path:
    """A folder with `sweep.yaml` and `only_rl.yaml` (no SFT stage, two arms that fail) over the same base."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "mine.py").write_text(REWARDS)
    lines = [
        {"id": f"q{k}", "prompt": f"How many? {k}", "answer": f"{k} nuclei", "reference": {"label": f"{k} nuclei"}}
        for k in range(4)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    base = {
        "name": "base",
        "model": {"path": str(tiny_text)},
        "data": {"train": "data.jsonl", "test": "data.jsonl"},
        "rewards": {
            "even": "mine.py:even",
            "short": "mine.py:short",
            "raises": "mine.py:raises",
            "dies": "mine.py:dies",
        },
        "reward": "0.7*even + 0.3*short",
        "stages": [SFT, RL | {"checkpoint_every": 1, "warmup_steps": 0}],
        "evaluation": {"samples_per_example": 2, "max_new_tokens": 6, "metrics": ["completion_length", "reward_mean"]},
    }
    sweep = {"base": "base.yaml", "metric": "completion_length"}
    arms = ["full", "leave_one_out"]
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "sweep.yaml").write_text(
        yaml.safe_dump({"name": "tiny", **sweep, "arms": arms, "controls": ["random_reward"], "seeds": 2})
    )
    failing = [{"name": "dies", "reward": "dies"}, {"name": "raises", "reward": "raises"}]
    only_rl = {"stages": [RL | {"steps": 1}]}
    (folder / "only_rl.yaml").write_text(
        yaml.safe_dump({"name": "only_rl", **sweep, "overrides": only_rl, "arms": [*failing, "full"], "seeds": 1})
    )
    return folder
