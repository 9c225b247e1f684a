"""Checkpoints: Hugging Face folders that appear whole or not at all, with the trainer's state beside the weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from groundrl.rollout.adapters import POLICY
from groundrl.rollout.policy import Policy

STATE = "trainer_state.pt"
ADAPTER = "adapter.safetensors"


def save_folder(policy: Policy, folder: Path) -> None:
    """Write the policy's files into `folder`; config.json comes last, so its presence says that all are there."""
    partial = folder.with_name(f".{folder.name}.partial")
    _write(policy.save, partial)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(partial.iterdir(), key=lambda file: file.name == "config.json"):
        os.replace(file, folder / file.name)
    partial.rmdir()


def _write(save: Callable[[Path], None], partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    try:
        save(partial)
    except SafetensorError as error:  # how a full disk reaches us from safetensors
        raise OSError(f"the weights could not be written to {partial}: {error}") from error


def _save_trained(policy: Policy, folder: Path) -> None:
    """The whole policy, or its adapter alone: what it rests on is the model that the stage began with."""
    if policy.adapters.active is None:
        policy.save(folder)
    else:
        folder.mkdir(parents=True)
        save_file(policy.adapters.parameters(POLICY), folder / ADAPTER)


def _load_trained(policy: Policy, folder: Path) -> None:
    if policy.adapters.active is None:
        weights = type(policy.model).from_pretrained(folder, dtype=torch.float32).state_dict()
        policy.model.load_state_dict(weights)
    else:
        policy.adapters.load(POLICY, load_file(folder / ADAPTER))


def is_complete(folder: Path) -> bool:
    """Whether a stage's final policy lies in `folder`."""
    return (folder / "config.json").is_file()


def save_step(policy: Policy, state: dict[str, Any], folder: Path, step: int) -> Path:
    """Write `folder/step-000100` (what is trained, and the trainer's state) and then remove the older ones."""
    target = folder / f"step-{step:06d}"
    partial = folder / f".{target.name}.partial"
    _write(lambda folder: _save_trained(policy, folder), partial)
    torch.save({**state, "step": step}, partial / STATE)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    for older in step_folders(folder)[:-1]:
        shutil.rmtree(older)
    return target


def step_folders(folder: Path) -> list[Path]:
    """The complete checkpoints inside a stage, oldest first."""
    return sorted(found for found in folder.glob("step-*") if (found / STATE).is_file())


def load_step(policy: Policy, folder: Path) -> dict[str, Any] | None:
    """Put the newest checkpoint's weights into `policy` and return the trainer's state; None where there is none."""
    found = step_folders(folder)
    if not found:
        return None
    _load_trained(policy, found[-1])
    state: dict[str, Any] = torch.load(found[-1] / STATE, weights_only=True, map_location=policy.device)
    return state


def stage_progress(folder: Path) -> int:
    """The step inside a stage from which it continues: that of its newest checkpoint, 0 without one."""
    names = [*(found.name for found in step_folders(folder)), *(found.stem for found in folder.glob("*.ckpt"))]
    return max((int(name.replace("=", "-").rpartition("-")[2]) for name in names), default=0)
