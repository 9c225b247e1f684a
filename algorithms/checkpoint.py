"""Checkpoints: Hugging Face folders that appear whole or not at all, with the trainer's state beside the weights.

A manifest holds the size and the SHA-256 of every file, so that what a crash, a full disk or a copy has damaged is
recognised, and the checkpoint before it continued from.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from groundrl.rewards import GroundRLWarning
from groundrl.rollout.io.records import settle, write_text
from groundrl.rollout.model.adapters import POLICY
from groundrl.rollout.model.policy import Policy

STATE = "trainer_state.pt"
ADAPTER = "adapter.safetensors"
MANIFEST = "manifest.json"
BEST = "best"
WINDOWS = "windows"
HELD_OUT = "held_out/"  # how metrics begin that an evaluation adds, and not after every step


def save_folder(policy: Policy, folder: Path) -> None:
    """Write the policy's files into `folder`; config.json comes last, so its presence says that all are there."""
    partial = folder.with_name(f".{folder.name}.partial")
    _save(policy.save, partial)
    _write_manifest(partial, version=policy.version)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(partial.iterdir(), key=lambda file: file.name == "config.json"):
        settle(file, folder / file.name)
    partial.rmdir()


def _save(write: Callable[[Path], None], partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write(partial)
    except SafetensorError as error:  # how a full disk reaches us from safetensors
        raise OSError(f"the weights could not be written to {partial}: {error}") from error


def _save_trained(policy: Policy, folder: Path) -> None:
    """The whole policy, or its adapter alone: what that rests on is the model with which the stage begins."""
    if policy.adapters.active is None:
        policy.save(folder)
    else:
        folder.mkdir(parents=True)
        save_file({key: p.detach() for key, p in policy.adapters.parameters(POLICY).items()}, folder / ADAPTER)


def _load_trained(policy: Policy, folder: Path) -> None:
    if policy.adapters.active is None:
        weights = type(policy.model).from_pretrained(folder, dtype=torch.float32).state_dict()
        policy.model.load_state_dict(weights)
    else:
        policy.adapters.load(POLICY, load_file(folder / ADAPTER))


def _write_manifest(folder: Path, *, version: int) -> None:
    files = {file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in sorted(folder.iterdir())}
    content = {"schema": 1, "policy_version": version, "files": files}
    write_text(json.dumps(content, indent=2) + "\n", folder / MANIFEST)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint's files by its manifest, in words; None where nothing is."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        for name, expected in files.items():
            size = (folder / name).stat().st_size
            if size != expected["bytes"]:
                return f"{name} has {size} of {expected['bytes']} bytes"
            if _sha256(folder / name) != expected["sha256"]:
                return f"{name} is not what was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def is_complete(folder: Path) -> bool:
    """Whether a stage's final policy lies in `folder`."""
    return (folder / "config.json").is_file()


def policy_version(folder: Path) -> int:
    """The version of the policy in a checkpoint: how many updates lie behind it."""
    return int(json.loads((folder / MANIFEST).read_text())["policy_version"])


def save_step(policy: Policy, state: Mapping[str, Any], folder: Path, step: int, *, keep_last: int = 2) -> Path:
    """Write `folder/step-000100` (what is trained, trainer state) and then remove all but the `keep_last` newest.

    Of windows in flight those stay that the oldest checkpoint kept would need.
    """
    target = folder / f"step-{step:06d}"
    partial = folder / f".{target.name}.partial"
    _save(lambda folder: _save_trained(policy, folder), partial)
    torch.save({**state, "step": step}, partial / STATE)
    _write_manifest(partial, version=policy.version)
    shutil.rmtree(target, ignore_errors=True)
    settle(partial, target)
    for gone in step_folders(folder)[:-keep_last]:
        shutil.rmtree(gone)
    oldest = step_of(step_folders(folder)[0])
    for window in (folder / WINDOWS).glob("step-*"):
        if step_of(window) <= oldest:
            window.unlink()
    return target


def save_if_best(policy: Policy, folder: Path, *, metric: str | None, metrics: Mapping[str, float], step: int) -> None:
    """Write `folder/best` where this step has the metric and its value is the best so far: of a loss the lowest.

    `best.json` there says of which step it is. ValueError where no step has such a metric. A step that a resumed run
    makes again finds its own value there and leaves it.
    """
    if metric is None:
        return
    if metric not in metrics and not metric.startswith(HELD_OUT):
        raise ValueError(f"keep_best: there is no metric {metric!r}; there are {', '.join(metrics)}, and {HELD_OUT}...")
    value = metrics.get(metric, math.nan)
    best = folder / BEST
    if not math.isfinite(value) or _stands(best, metric, value):
        return
    partial, replaced = folder / f".{BEST}.partial", folder / f".{BEST}.replaced.partial"
    _save(policy.save, partial)
    write_text(json.dumps({"metric": metric, "value": value, "step": step}) + "\n", partial / "best.json")
    _write_manifest(partial, version=policy.version)
    shutil.rmtree(replaced, ignore_errors=True)
    if best.exists():
        os.replace(best, replaced)
    settle(partial, best)
    shutil.rmtree(replaced, ignore_errors=True)


def _stands(best: Path, metric: str, value: float) -> bool:
    """Whether the policy kept so far is at least as good as one with this value."""
    try:
        before = json.loads((best / "best.json").read_text())
        lead = (value - before["value"]) if metric.endswith("loss") else (before["value"] - value)
        return bool(before["metric"] == metric and lead >= 0) and damage(best) is None
    except (OSError, ValueError, KeyError, TypeError):
        return False  # there is none yet, or none that can be read


def step_folders(folder: Path) -> list[Path]:
    """The checkpoints inside a stage, oldest first, damaged ones among them."""
    return sorted(folder.glob("step-*"))


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint or a window."""
    return int(path.name.split("-")[1].split(".")[0])


def load_step(policy: Policy, folder: Path) -> dict[str, Any] | None:
    """Put the newest whole checkpoint's weights into `policy` and return the trainer's state; None where there is none.

    A damaged one is stepped over with a warning and removed, as is what an interrupted save has left.
    """
    for partial in folder.glob(".*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
    for found in reversed(step_folders(folder)):
        if (fault := damage(found)) is None:
            _load_trained(policy, found)
            state: dict[str, Any] = torch.load(found / STATE, weights_only=True, map_location=policy.device)
            return state
        message = f"checkpoint {found} is damaged and left out: {fault}; going on from the one before it"
        warnings.warn(message, GroundRLWarning, stacklevel=2)
        shutil.rmtree(found, ignore_errors=True)
    return None


def stage_progress(folder: Path) -> int:
    """The step inside a stage from which it continues: that of its newest whole checkpoint, 0 without one."""
    return next((step_of(found) for found in reversed(step_folders(folder)) if damage(found) is None), 0)
