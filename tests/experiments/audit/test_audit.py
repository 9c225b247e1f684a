"""`groundrl audit` as a user meets it, and the small audit before an RL stage."""

import json
import random
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from groundrl.experiments import resume, train
from groundrl.experiments.audit.command import named_reward
from groundrl.experiments.cli import main as cli
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.data import NucleiCrops
from groundrl.experiments.runs.audit_check import warn_before_training
from groundrl.rewards import Example, GroundRLWarning, Judge, SoftF1, presets, reward


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """`command(...)`: the exit code, what stood in the terminal, what went to stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["groundrl", "audit", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_medmo_as_published_exits_1_and_shows_the_grid(command, tmp_path):
    code, said, _ = command("presets.medmo_box(as_published=True)", "--examples", "60", "--out", "one")
    assert code == 1
    assert "5x5 grid: the 25 tiles of the image" in said
    assert "[[000, 000, 200, 200], [200, 000, 400, 200]" in " ".join(said.split())
    found = json.loads((tmp_path / "one" / "audit.json").read_text())
    assert found["passed"] is False
    assert "5x5 grid" in {own["name"] for own in found["policies"] if own["flagged"]}
    assert Image.open(tmp_path / "one" / "audit.png").size[0] > 1000
    command("presets.medmo_box(as_published=True)", "--examples", "60", "--out", "two")
    for name in ("audit.json", "audit.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("named", ["SoftF1()", "quickstart"])
def test_a_sound_reward_exits_0(command, named):
    code, said, _ = command(named, "--examples", "60")
    assert code == 0
    assert "passed: no policy reaches 0.5" in said


def test_a_users_reward_and_data(command, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from groundrl.rewards import reward\n@reward\ndef contains(completion, example):\n"
        "    return float(example.reference.label in completion.text)\n"
    )
    lines = [
        json.dumps({"id": f"{k}", "prompt": "a or b?", "answer": label, "reference": {"label": label}})
        for k in range(20)
        for label in ["ab"[k % 2]]
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    code, said, _ = command("mine.py:contains", "--data", "mine.jsonl", "--threshold", "0.9")
    assert code == 1
    assert "every label (1.00)" in said
    assert "not applicable, the references have no boxes: no boxes, whole image" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SoftF2()"], "did you mean 'SoftF1'?"),
        (["quickstrat"], "there is no file and no recipe 'quickstrat'"),
        (["base"], "base has no reward"),
        (["none.py:tight"], "there is no reward file"),
        (["SoftF1()", "--data", "nuclei/trian"], "did you mean 'nuclei/train'?"),
        (["SoftF1()", "--data", "{coco: [}"], "is not YAML"),
        (["SoftF1()", "--threshold", "2"], "threshold is a share above 0"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(command, arguments, message):
    code, _, error = command(*arguments)
    assert code == 2
    assert message in error
    assert "Traceback" not in error


def test_a_configuration_brings_its_own_data(tmp_path):
    found, source = named_reward("quickstart", data=None, seed=0)
    assert set(found.weights) == {"box", "label", "format"}
    assert source[0].id.startswith("nuclei/train")
    assert named_reward("quickstart", data="cells/rendered", seed=0)[1][0].id.startswith("cells/rendered")
    with pytest.raises(ConfigError, match="no file and no recipe"):
        named_reward("nothing", data=None, seed=0)


def test_it_warns_once_with_the_policy_and_its_share():
    with pytest.warns(GroundRLWarning, match=r"can be gamed, flagged: .*5x5 grid \(0\.\d\d\)") as caught:
        warn_before_training(presets.medmo_box(as_published=True), NucleiCrops("train"), seed=0)
    assert len(caught) == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_quickstarts_reward_is_not_warned_about(seed):
    found, _ = named_reward("quickstart", data=None, seed=0)
    warn_before_training(found, NucleiCrops("train", seed=seed), seed=seed)


@reward
def shared_randomness(completion, example):
    return random.random() * np.random.rand() * float(torch.rand(()))


def test_no_shared_random_state_is_touched():
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    with pytest.warns(GroundRLWarning, match="deterministic"):
        warn_before_training(shared_randomness, NucleiCrops("train"), seed=0)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_a_judge_is_not_asked_before_training():
    """Nothing listens at the address: one request would make a finding, and a warning."""
    judge = Judge(base_url="http://127.0.0.1:9/v1", model="none", retries=0, cache=None)
    warn_before_training(0.5 * judge + 0.5 * SoftF1(), NucleiCrops("train"), seed=0)


def test_data_without_gold_are_left_to_training():
    warn_before_training(SoftF1(), [Example(id="a", prompt="x")], seed=0)


def test_training_is_the_same_with_and_without(small, tmp_path, monkeypatch):
    """Warned or not, the run is the same to the byte; a resume inside the stage does not audit again."""
    calls = []
    real = warn_before_training
    monkeypatch.setattr(
        "groundrl.experiments.runs.pipeline.warn_before_training", lambda *a, **k: calls.append(1) or real(*a, **k)
    )
    few = {**small, "data.test": None, "stages.sft.steps": 1, "stages.rl.checkpoint_every": 1}
    off = train("quickstart", overrides={**few, "audit": "off"}, runs=tmp_path / "off", progress=False)
    assert calls == []
    on = train("quickstart", overrides=few, runs=tmp_path / "on", progress=False)
    assert calls == [1]
    for row in zip(off.metrics, on.metrics, strict=True):
        first, second = ({k: v for k, v in own.items() if "seconds" not in k and "tokens_per" not in k} for own in row)
        assert first == second
    one, two = (load_file(run.checkpoint("rl") / "model.safetensors") for run in (off, on))
    assert all(torch.equal(one[name], two[name]) for name in one)
    for file in on.checkpoint("rl").iterdir():
        if file.is_file():
            file.unlink()  # as if it had stopped after the last step's checkpoint
    resume(on.folder, progress=False)
    assert calls == [1]
