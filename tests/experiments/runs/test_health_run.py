"""Health in a run: the preflight is printed, a warning is printed and recorded, and a resume says nothing twice."""

import json
from pathlib import Path

import pytest

from groundrl.experiments import resume, train
from groundrl.rewards import Completion, Example, reward

RL = {"name": "rl", "kind": "rl", "steps": 11, "prompts_per_step": 2, "group_size": 2, "max_new_tokens": 3, "lr": 1e-3}


@reward(range=(0, 1))
def flat(completion: Completion, example: Example) -> float:
    return 0.5


@pytest.fixture
def config(tiny_text, tmp_path) -> Path:
    lines = [{"id": f"t{k}", "prompt": f"How many nuclei? {k}"} for k in range(4)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    content = {"name": "run", "model": {"path": str(tiny_text)}, "data": {"train": "train.jsonl"}, "audit": "off"}
    (tmp_path / "config.yaml").write_text(json.dumps(content | {"stages": [RL | {"checkpoint_every": 6}]}))
    return tmp_path / "config.yaml"


def test_a_flat_reward_is_said_before_and_while_training(config, tmp_path, capsys):
    run = train(config, reward=flat, runs=tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    assert "informative groups: 0 of 8; the others teach nothing" in said
    assert said.count("warning, rl step 5: zero_variance: 100% of the groups have equal scores") == 1
    rows = [json.loads(line) for line in (run.folder / "health.jsonl").read_text().splitlines()]
    found = [(row["step"], row["stage"], row["name"]) for row in rows]
    assert found == [(5, "rl", "zero_variance"), (5, "rl", "length_explosion")]  # a random model never ends

    (run.checkpoint("rl") / "config.json").unlink()  # as if it had been killed after the checkpoint of step 6
    resume(run.folder, reward=flat)
    said = " ".join(capsys.readouterr().out.split())
    assert "preflight" not in said
    assert "warning" not in said
    assert len((run.folder / "health.jsonl").read_text().splitlines()) == 2
    assert [row["step"] for row in run.metrics] == list(range(1, 12))
