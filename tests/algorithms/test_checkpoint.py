"""Checkpoints appear whole or not at all, and the newest whole one is continued from."""

import pytest
import torch

from groundrl.algorithms.checkpoint import is_complete, load_step, save_folder, save_step, stage_progress, step_folders
from groundrl.rollout.policy import Policy


class Full(OSError):
    """A full disk."""


def test_a_folder_is_complete_only_at_the_very_end(text_policy, tmp_path, monkeypatch):
    """A kill between any two renames leaves a folder that does not pass for a checkpoint."""
    import os

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
    save_step(text_policy, {"mark": 1}, tmp_path, 9)
    text_policy.model.lm_head.weight.data.add_(1.0)
    save_step(text_policy, {"mark": 2}, tmp_path, 10)
    fresh = Policy.load(tiny_text)
    assert load_step(fresh, tmp_path) == {"mark": 2, "step": 10}
    assert torch.equal(fresh.model.lm_head.weight, text_policy.model.lm_head.weight)
    assert [f.name for f in tmp_path.iterdir()] == ["step-000010"]
    assert stage_progress(tmp_path) == 10


def test_without_a_checkpoint_there_is_nothing_to_load(text_policy, tmp_path):
    assert load_step(text_policy, tmp_path / "nowhere") is None
    assert stage_progress(tmp_path / "nowhere") == 0


def test_a_checkpoint_is_a_hugging_face_folder_too(vl_policy, tmp_path):
    folder = save_step(vl_policy, {}, tmp_path, 1)
    assert Policy.load(folder).image_processor is not None


def test_progress_of_an_sft_stage_is_read_from_lightnings_names(tmp_path):
    (tmp_path / "step=000250.ckpt").touch()
    assert stage_progress(tmp_path) == 250
