"""Checkpoints appear whole or not at all, and the newest whole one is continued from."""

import json
import os

import pytest
import torch

from groundrl.algorithms.checkpoint import (
    MANIFEST,
    STATE,
    damage,
    is_complete,
    load_step,
    save_folder,
    save_if_best,
    save_step,
    stage_progress,
    step_folders,
)
from groundrl.rewards import GroundRLWarning
from groundrl.rollout.model.policy import Policy


class Full(OSError):
    """A full disk."""


def test_a_folder_is_complete_only_at_the_very_end(text_policy, tmp_path, monkeypatch):
    """A kill between any two renames leaves a folder that does not pass for a checkpoint."""
    seen, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (seen.append(is_complete(tmp_path / "out")), replace(*names)))
    save_folder(text_policy, tmp_path / "out")
    assert len(seen) > 3
    assert not any(seen)
    assert is_complete(tmp_path / "out")
    assert [f.name for f in tmp_path.iterdir()] == ["out"]
    assert Policy.load(tmp_path / "out").end_ids == text_policy.end_ids


def test_a_save_that_fails_leaves_the_older_checkpoint(text_policy, tmp_path, monkeypatch):
    save_step(text_policy, {"mark": 1}, tmp_path, 1)

    def full(state, path):
        path.write_bytes(b"half")
        raise Full

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(Full):
        save_step(text_policy, {"mark": 2}, tmp_path, 2)
    assert [f.name for f in step_folders(tmp_path)] == ["step-000001"]
    assert load_step(text_policy, tmp_path)["mark"] == 1


def test_the_newest_brings_back_weights_and_state(text_policy, tiny_text, tmp_path):
    for step in (8, 9, 10):
        text_policy.model.lm_head.weight.data.add_(1.0)
        save_step(text_policy, {"mark": step - 8}, tmp_path, step)
    fresh = Policy.load(tiny_text)
    assert load_step(fresh, tmp_path) == {"mark": 2, "step": 10}
    assert torch.equal(fresh.model.lm_head.weight, text_policy.model.lm_head.weight)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["step-000009", "step-000010"]
    assert stage_progress(tmp_path) == 10


def test_without_a_checkpoint_there_is_nothing_to_load(text_policy, tmp_path):
    assert load_step(text_policy, tmp_path / "nowhere") is None
    assert stage_progress(tmp_path / "nowhere") == 0


def test_a_checkpoint_is_a_hugging_face_folder_too(vl_policy, tmp_path):
    folder = save_step(vl_policy, {}, tmp_path, 1)
    assert Policy.load(folder).image_processor is not None


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGE = {
    "weights_cut": ("model.safetensors", cut, r"model\.safetensors has \d+ of \d+ bytes"),
    "weights_flipped": ("model.safetensors", flip, r"model\.safetensors is not what was written"),
    "state_of_garbage": (STATE, lambda file: file.write_bytes(b"garbage"), r"trainer_state\.pt has 7 of \d+ bytes"),
    "state_gone": (STATE, lambda file: file.unlink(), r"trainer_state\.pt is missing"),
    "manifest_cut": (MANIFEST, cut, r"manifest\.json cannot be read"),
    "manifest_of_another_shape": (
        MANIFEST,
        lambda file: file.write_text('{"files": [1]}'),
        r"manifest\.json cannot be read",
    ),
    "manifest_gone": (MANIFEST, lambda file: file.unlink(), r"manifest\.json is missing"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_checkpoint_is_stepped_over_with_a_message(text_policy, tiny_text, tmp_path, how):
    name, harm, message = DAMAGE[how]
    for step in (1, 2):
        save_step(text_policy, {"mark": step}, tmp_path, step)
    harm(tmp_path / "step-000002" / name)
    assert stage_progress(tmp_path) == 1  # records are cut there
    with pytest.warns(GroundRLWarning, match=f"step-000002 is damaged and left out: {message}"):
        assert load_step(Policy.load(tiny_text), tmp_path) == {"mark": 1, "step": 1}
    assert [f.name for f in step_folders(tmp_path)] == ["step-000001"]  # else it would pass for the newest later on


def test_what_an_interrupted_save_has_left_is_removed(text_policy, tmp_path):
    partial = tmp_path / ".step-000003.partial"
    partial.mkdir()
    (partial / STATE).write_bytes(b"half")
    assert load_step(text_policy, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_contents_reach_the_disk_before_their_name(text_policy, tmp_path, monkeypatch):
    """fsync of every file of a checkpoint, then the rename, then fsync of the folder that holds the new name."""
    events, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(descriptor):
        events.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", lambda old, new: (events.append(f"-> {new.name}"), replace(old, new)))
    folder = save_step(text_policy, {}, tmp_path, 1)
    renamed = events.index("-> step-000001")
    assert {file.name for file in folder.iterdir()} <= set(events[:renamed])
    assert events[renamed + 1 :] == [tmp_path.name]


class TestBest:
    def test_the_highest_value_is_kept(self, text_policy, tmp_path):
        for step, value in enumerate([0.5, 0.25, 0.75, 0.75, 0.5]):
            save_if_best(text_policy, tmp_path, metric="reward/mean", metrics={"reward/mean": value}, step=step)
        best = tmp_path / "best"
        assert json.loads((best / "best.json").read_text()) == {"metric": "reward/mean", "value": 0.75, "step": 2}
        assert [f.name for f in tmp_path.iterdir()] == ["best"]
        assert damage(best) is None
        assert Policy.load(best).end_ids == text_policy.end_ids

    def test_of_a_loss_the_lowest_and_of_what_is_not_measured_nothing(self, text_policy, tmp_path):
        for step, metrics in enumerate([{"held_out/loss": 2.0}, {}, {"held_out/loss": 1.5}, {"held_out/loss": 1.75}]):
            save_if_best(text_policy, tmp_path, metric="held_out/loss", metrics=metrics, step=step)
        assert json.loads((tmp_path / "best" / "best.json").read_text())["step"] == 2
        with pytest.raises(ValueError, match="keep_best: there is no metric 'los'; there are loss, and held_out/"):
            save_if_best(text_policy, tmp_path, metric="los", metrics={"loss": 1.0}, step=4)

    def test_a_damaged_one_and_that_of_another_metric_are_replaced(self, text_policy, tmp_path):
        save_if_best(text_policy, tmp_path, metric="reward/mean", metrics={"reward/mean": 9.0}, step=1)
        save_if_best(text_policy, tmp_path, metric="held_out/iou_mean", metrics={"held_out/iou_mean": 0.5}, step=2)
        cut(tmp_path / "best" / "model.safetensors")
        save_if_best(text_policy, tmp_path, metric="held_out/iou_mean", metrics={"held_out/iou_mean": 0.25}, step=3)
        assert json.loads((tmp_path / "best" / "best.json").read_text())["step"] == 3
        assert damage(tmp_path / "best") is None
