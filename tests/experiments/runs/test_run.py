"""A run end to end on the shipped base and data: what it leaves, that it repeats, and that it goes on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from groundrl.experiments import Run, load_run, resume, train
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.recording.rollouts import read_examples
from groundrl.rewards import Completion, reward

TIMING = ("seconds/", "tokens_per_second")


def without_timing(run: Run) -> list[dict[str, object]]:
    """What neither the clock nor an evaluation within a stage has to do with."""
    return [{key: row[key] for key in row if not key.startswith((*TIMING, "held_out/"))} for row in run.metrics]


def weights(run: Run, stage: str) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoint(stage) / "model.safetensors")


def test_the_folder_holds_what_the_design_says(small_run):
    names = {path.name for path in small_run.folder.iterdir()}
    assert names >= {"config.yaml", "environment.json", "metrics.jsonl", "tensorboard", "examples.parquet", "rollouts"}
    assert names >= {"images", "checkpoints", "evaluation", "evaluation.json", "curves.png", "boxes.png", "summary.png"}
    assert not list(small_run.folder.rglob("*.partial"))
    assert list((small_run.folder / "tensorboard").glob("events*"))


def test_metrics_have_every_field(small_run):
    rows = small_run.metrics
    assert [(row["step"], row["stage"]) for row in rows] == [(1, "sft"), (2, "sft"), (3, "rl"), (4, "rl")]
    expected = {"loss", "grad_norm", "approx_kl", "ref_kl", "clip_frac", "entropy", "completion_length/mean"}
    expected |= {"sampler_gap", "reward/mean", "completions/masked", "tokens_per_second", "seconds/step"}
    expected |= {f"groups/{name}" for name in ("informative", "zero_variance", "dropped")}
    expected |= {f"reward/{p}/{s}" for p in ("box", "label", "format") for s in ("mean", "std", "advantage_share")}
    assert expected <= set(rows[2])
    assert all(row["sampler_gap"] < 5e-5 for row in rows[2:])  # the largest of hundreds of tokens, trained weights


def test_rollouts_hold_each_completion(small_run):
    table = small_run.rollouts
    assert table.num_rows == 2 * 2 * 4
    rows = table.to_pylist()
    assert {row["step"] for row in rows} == {3, 4}
    for row in rows:
        total = 0.6 * row["parts/box"] + 0.3 * row["parts/label"] + 0.1 * row["parts/format"]
        assert row["reward"] == pytest.approx(total)
        assert len(row["token_ids"]) == len(row["logprobs"]) == len(row["sampled"])
        assert (len(row["fingerprint"]), row["status"]) == (16, "ok")
        assert row["seed_key"].startswith("0/rollout/rl/")
    first = [row for row in rows if row["step"] == 3 and row["group"] == 0]
    values = np.array([row["reward"] for row in first])
    expected = (values - values.mean()) / (values.std(ddof=1) + 1e-4) if np.ptp(values) else np.zeros(4)
    assert [row["advantage"][0] for row in first] == pytest.approx(expected, abs=1e-4)


def test_stored_examples_are_the_examples(small_run):
    from groundrl.experiments.data.shipped.crops import NucleiCrops

    stored = read_examples(small_run.folder)["nuclei/test/0/7"]
    original = NucleiCrops("test")[7]
    assert stored.images[0].source.read_bytes() == original.images[0].source
    assert (stored.answer, stored.prompt, stored.block) == (original.answer, original.prompt, original.block)
    assert np.array_equal(stored.reference.boxes.xyxy, original.reference.boxes.xyxy)


def test_evaluation_is_on_256_crops_with_intervals(small_run):
    content = small_run.evaluation
    assert (content["num_examples"], content["num_blocks"]) == (256, 8)
    assert set(content["stages"]) == {"sft", "rl"}
    found = content["difference"]["iou_mean_greedy"]
    assert found["ci95"][0] <= found["mean"] <= found["ci95"][1]
    table = pq.read_table(small_run.folder / "evaluation" / "rl.parquet")
    assert table.num_rows == 256 * 3


def test_the_held_out_curve_has_a_point_within_the_stage(small_run):
    curve = small_run.held_out
    assert [(point["step"], point["stage"]) for point in curve] == [(1, "sft"), (2, "sft"), (3, "rl"), (4, "rl")]
    within = pq.read_table(small_run.folder / "evaluation" / "rl" / "step-000001.parquet").to_pylist()
    greedy = [row["iou"] for row in within if row["decoding"] == "greedy"]
    assert len(greedy) == 256
    assert curve[2]["iou_mean_greedy"] == pytest.approx(np.mean(greedy))
    assert curve[3]["iou_mean_greedy"] == small_run.evaluation["stages"]["rl"]["iou_mean_greedy"]


def test_no_real_pixel_reaches_the_sft_stage(small_run):
    assert small_run.config.stages[0].data.train == "cells/rendered"
    assert {row["example_id"].split("/")[1] for row in small_run.rollouts.to_pylist()} == {"train"}


def test_the_same_seed_twice_is_the_same_run(small_run, small, tmp_path):
    other = train("quickstart", overrides=small, runs=tmp_path, progress=False)
    assert json.dumps(without_timing(other)) == json.dumps(without_timing(small_run))
    for stage in ("sft", "rl"):
        mine, theirs = weights(small_run, stage), weights(other, stage)
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_another_seed_is_another_run(small_run, small, tmp_path):
    few = {**small, "data.test": None}
    other = train("quickstart", overrides=few, runs=tmp_path, progress=False, seed=1)
    assert without_timing(other)[0]["loss"] != without_timing(small_run)[0]["loss"]
    assert not (other.folder / "evaluation.json").exists()


def test_a_run_that_stopped_goes_on_to_the_same_end(small_run, small, tmp_path):
    """Stop inside the RL stage (after its first checkpoint), with a line torn; resume equals the undisturbed run."""
    name = tmp_path / small_run.folder.name
    every = {**small, "stages.rl.checkpoint_every": 1, "data.test": None}
    whole = train("quickstart", overrides=every, runs=tmp_path, progress=False)
    final = weights(whole, "rl")
    for file in (whole.folder / "checkpoints" / "rl").iterdir():
        if file.is_file():
            file.unlink()
    newest = whole.folder / "checkpoints" / "rl" / "step-000002"
    assert newest.is_dir()
    shutil.rmtree(newest)  # as if it had been killed before the second step's checkpoint
    before = without_timing(whole)
    with (whole.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "sta')
    again = resume(name, progress=False)
    assert json.dumps(without_timing(again)) == json.dumps(before)
    resumed = weights(again, "rl")
    assert all(torch.equal(final[key], resumed[key]) for key in final)


def test_a_finished_run_is_left_as_it_is(small_run):
    before = {path: path.read_bytes() for path in small_run.folder.rglob("*.parquet") if path.is_file()}
    metrics = small_run.metrics
    resume(small_run.folder, progress=False)
    assert small_run.metrics == metrics
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_name_that_exists_is_refused(small_run):
    with pytest.raises(ConfigError, match=r"exists; continue it with `groundrl resume .*--overwrite"):
        train("quickstart", runs=small_run.folder.parent, progress=False)


def test_overwrite_replaces_a_run_but_nothing_else(small, tmp_path):
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not a run's folder"):
        train("quickstart", runs=tmp_path, overwrite=True, progress=False)
    assert (tmp_path / "quickstart" / "thesis.txt").read_text() == "precious"


def test_load_run_refuses_another_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"not a run: it has no config\.yaml"):
        load_run(tmp_path)


@reward(range=(0, 1))
def short(completion: Completion, example: object) -> float:
    """Shorter is better."""
    return 1.0 / len(completion.token_ids)


def test_a_reward_made_in_python(small, tmp_path):
    few = {**small, "data.test": None, "stages.sft.steps": 1, "stages.rl.steps": 1}
    run = train("quickstart", reward=short, overrides={**few, "audit": "off"}, runs=tmp_path, progress=False)
    assert "def short" in (run.folder / "reward.py").read_text()
    row = run.rollouts.to_pylist()[0]
    assert row["reward"] == pytest.approx(1 / len(row["token_ids"]))
    with pytest.raises(ConfigError, match="was given in Python"):
        resume(run.folder)
    assert (
        Path(run.show(step=2, group=1).savefig(tmp_path / "group.png") or tmp_path / "group.png").stat().st_size > 1000
    )
    with pytest.raises(ValueError, match="no rollout of step 9"):
        run.show(step=9)
