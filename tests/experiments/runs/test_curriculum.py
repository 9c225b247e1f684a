"""Supervised stages one after the other: what each learns from, what learns in it, and how it sees images."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from groundrl.experiments import Run, resume, train
from groundrl.experiments.data.shipped.cells import RenderedCells

STAGE = {"kind": "sft", "steps": 4, "batch_size": 4, "lr": 1e-2, "checkpoint_every": 2}
STAGES = [
    STAGE
    | {"name": "low", "keep_best": "held_out/loss", "resolution": {"min_pixels": 1024, "max_pixels": 1024}}
    | {"data": {"train": [{"data": "cells/rendered", "weight": 3}, {"data": "cells/report", "weight": 1}]}},
    STAGE
    | {"name": "high", "freeze": ["vision", "merger", "layers.0"]}
    | {"resolution": {"min_pixels": 4096, "max_pixels": 4096}}
    | {"pack_tokens": 256, "schedule": "constant", "data": {"train": "cells/rendered"}},
]


@pytest.fixture(scope="module")
def config(tiny_vl, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    with (folder / "held.jsonl").open("w") as file:
        for index in range(3):
            example = RenderedCells(seed=9)[index]
            picture = folder / f"{index}.png"
            picture.write_bytes(example.images[0].source)
            boxes = {"xyxy": example.reference.boxes.xyxy.tolist(), "space": "pixel"}
            record = {"id": f"h{index}", "prompt": example.prompt, "images": [picture.name], "answer": example.answer}
            file.write(json.dumps(record | {"reference": {"boxes": boxes}}) + "\n")
    content = {
        "name": "run",
        "model": {"path": str(tiny_vl)},
        "data": {"validation": "held.jsonl", "test": "nuclei/test"},
        "stages": STAGES,
        "evaluation": {"every": 2, "samples_per_example": 1, "max_new_tokens": 3, "metrics": ["iou_mean_greedy"]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def run(config, tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("groundrl.experiments.data.shipped.crops.NucleiCrops.__len__", lambda self: 2)
        return train(config, runs=tmp_path_factory.mktemp("runs"), progress=False)


def weights(run: Run, stage: str) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoint(stage) / "model.safetensors")


def test_only_what_is_not_frozen_learns_and_a_stage_begins_where_the_last_one_ended(run):
    low, high = weights(run, "low"), weights(run, "high")
    frozen = ("model.visual.", "model.language_model.layers.0.")
    for key in low:
        assert torch.equal(low[key], high[key]) == key.startswith(frozen), key


def test_the_resolution_of_a_stage_is_in_its_folder(run):
    sizes = {
        stage: json.loads((run.checkpoint(stage) / "preprocessor_config.json").read_text())["size"]["longest_edge"]
        for stage in ("low", "high")
    }
    assert sizes == {"low": 1024, "high": 4096}


def test_the_loss_on_held_out_answers_is_recorded_and_the_best_policy_kept(run):
    found = {row["step"]: row["held_out/loss"] for row in run.metrics if "held_out/loss" in row}
    assert list(found) == [2, 6], "at the end of a stage there is its own evaluation"
    best = json.loads((run.folder / "checkpoints" / "low" / "best" / "best.json").read_text())
    assert best == {"metric": "held_out/loss", "value": found[2], "step": 2}
    assert not (run.folder / "checkpoints" / "high" / "best").exists()
    rows = [point for point in run.held_out if point["stage"] == "low"]
    assert [point["step"] for point in rows] == [2, 4]


def test_waiting_for_data_is_recorded(run):
    for row in run.metrics:
        assert 0 <= row["seconds/data"] <= row["seconds/step"]


def test_a_kill_in_the_packed_stage_changes_nothing(run, config, tmp_path, monkeypatch):
    """After the second stage's first checkpoint and before its end; the mixture behind it is not gone through again."""
    monkeypatch.setattr("groundrl.experiments.data.shipped.crops.NucleiCrops.__len__", lambda self: 2)
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        try:
            from groundrl.experiments.recording.recorder import Recorder

            record = Recorder.sft

            def until_seven(self, row):
                record(self, row)
                if (self.stage, row["stage_step"]) == ("high", 3):
                    os.kill(os.getpid(), signal.SIGKILL)

            monkeypatch.setattr(Recorder, "sft", until_seven)
            train(config, runs=tmp_path, progress=False)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    again = resume(tmp_path / "run", progress=False)
    for stage in ("low", "high"):
        for key, tensor in weights(run, stage).items():
            assert torch.equal(tensor, weights(again, stage)[key])
    timing = ("seconds/", "tokens_per_second")
    rows = [[{k: v for k, v in row.items() if not k.startswith(timing)} for row in one.metrics] for one in (run, again)]
    assert rows[0] == rows[1]
