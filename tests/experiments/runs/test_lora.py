"""A run with `model.lora`: each stage trains an adapter and ends with it merged into a plain folder."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from groundrl.algorithms.loop import train_rl
from groundrl.experiments import resume, train
from groundrl.experiments.config.model import BASE
from groundrl.experiments.recording.recorder import Recorder
from groundrl.experiments.runs import pipeline

LORA = {
    "model.lora.rank": 4,
    "data.test": None,
    "stages.rl.kl_coef": 0.05,
    "stages.rl.epochs": 2,
    "stages.rl.max_new_tokens": 48,
}


def weights(run, stage: str) -> dict[str, torch.Tensor]:
    model, info = AutoModelForImageTextToText.from_pretrained(run.checkpoint(stage), output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.state_dict()


class Killed(Exception):
    """What ends a run from outside."""


def test_each_stage_ends_merged_and_a_killed_run_ends_the_same(small, tmp_path, monkeypatch):
    """Killed in the second RL step, after the checkpoint of the first, which holds the adapter alone."""
    overrides = small | LORA | {"stages.rl.checkpoint_every": 1}
    run = train("quickstart", overrides=overrides, runs=tmp_path, name="whole", progress=False)
    base = AutoModelForImageTextToText.from_pretrained(BASE).state_dict()
    sft, rl = weights(run, "sft"), weights(run, "rl")
    assert sft.keys() == rl.keys() == base.keys()
    for before, after in ((base, sft), (sft, rl)):
        changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        assert len(changed) == 7 * 3  # the linear layers of the three layers of the language model
    rows = [row for row in run.metrics if row["stage"] == "rl"]
    assert rows[0]["ref_kl"] < rows[1]["ref_kl"], "the reference is the merged SFT model: RL starts from it"

    record = Recorder.rl

    def kill(self, step) -> None:
        if step.step == 2:
            raise Killed
        record(self, step)

    monkeypatch.setattr(Recorder, "rl", kill)
    with pytest.raises(Killed):
        train("quickstart", overrides=overrides, runs=tmp_path, name="killed", progress=False)
    (checkpoint,) = (tmp_path / "killed" / "checkpoints" / "rl").glob("step-*")
    assert (checkpoint / "adapter.safetensors").is_file()
    assert not (checkpoint / "config.json").exists()
    monkeypatch.setattr(Recorder, "rl", record)
    again = resume(tmp_path / "killed", progress=False)
    assert all(torch.equal(tensor, rl[name]) for name, tensor in weights(again, "rl").items())


def test_in_bfloat16_what_is_frozen_takes_half_and_the_stage_ends_in_float32(small, tmp_path, monkeypatch):
    """Supervised and RL stages run on it; a layer under the adapter is looked at as RL begins."""
    seen = []

    def spied(policy, *arguments, **keys):
        layer = policy.model.get_decoder().layers[0].mlp.up_proj
        seen.append((layer.base_layer.weight.dtype, layer.lora_A["policy"].weight.dtype))
        train_rl(policy, *arguments, **keys)

    monkeypatch.setattr(pipeline, "train_rl", spied)
    overrides = small | LORA | {"model.dtype": "bfloat16"}
    run = train("quickstart", overrides=overrides, runs=tmp_path, name="half", progress=False)
    assert seen == [(torch.bfloat16, torch.float32)]
    assert {tensor.dtype for tensor in load_file(run.checkpoint("rl") / "model.safetensors").values()} == {
        torch.float32
    }
