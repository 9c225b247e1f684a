"""`make evidence-base`: has the embedded base reached its plateau on rendered cells?

Greedy IoU of `experiments/base` on 1,024 fresh rendered scenes, and again after 500 more SFT steps with the recipe's
optimiser and batch, from the recipe's learning rate and from a quarter of it. Writes `runs/evidence/base.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import typer

from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.model import BASE
from groundrl.experiments.data import RenderedCells
from groundrl.experiments.metrics.grounding import set_iou
from groundrl.experiments.runs.train import train
from groundrl.rewards.core.intervals import t_interval
from groundrl.rollout.io.records import write_text
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.engine import seed_key
from groundrl.rollout.sampling.local import LocalEngine
from groundrl.rollout.settings import Sampling

FRESH_SEED, SCENES = 77, 1_024  # no training seed of any recipe
TRAINING_SEED = 1_077


def greedy_ious(checkpoint: Path, scenes: int = SCENES) -> np.ndarray:
    """The greedy answer's IoU on each fresh rendered scene."""
    source = RenderedCells(seed=FRESH_SEED, length=scenes)
    keys = [seed_key(seed=0, stream="evaluation", stage="greedy", step=0, prompt=index) for index in range(scenes)]
    groups = LocalEngine(Policy.load(checkpoint)).generate(
        [source[index] for index in range(scenes)],
        group_size=1,
        sampling=Sampling(max_new_tokens=96, temperature=0.0),
        seed_keys=keys,
    )
    ious = np.zeros(scenes)
    for group in groups:
        truth = group.example.reference.boxes
        assert truth is not None
        ious[group.index] = set_iou(group.completions[0].boxes, truth)
    return ious


def continued(lr: float, *, steps: int, folder: Path) -> Path:
    """The base after `steps` more steps of its own recipe, on scenes it has not seen."""
    stage = {**load_config("base", {})[0].stages[0].model_dump(mode="json", exclude={"data"}), "steps": steps, "lr": lr}
    config = {
        "name": f"base-lr{lr:g}",
        "seed": TRAINING_SEED,
        "model": {"path": "base"},
        "data": {"train": "cells/rendered"},
        "stages": [stage],
    }
    return train(config, runs=folder, overwrite=True, progress=False).checkpoint()


def main(steps: int = 500, scenes: int = SCENES, folder: Path = Path("runs/evidence")) -> None:
    """Print and write the base's IoU and the paired gains."""
    lr = load_config("base", {})[0].stages[0].lr
    before = greedy_ious(BASE, scenes)
    result: dict[str, Any] = {"schema": 1, "scenes": scenes, "more_steps": steps, "iou": float(before.mean())}
    result["iou_by_count"] = [float(before[count::5].mean()) for count in range(5)]
    print(f"base: greedy IoU {before.mean():.4f} on {scenes} fresh rendered scenes; by count {result['iou_by_count']}")
    for rate in (lr, lr / 4):
        gains = greedy_ious(continued(rate, steps=steps, folder=folder), scenes) - before
        low, high = t_interval(gains).tolist()
        result[f"gain at lr {rate:g}"] = {"mean": float(gains.mean()), "ci95": [low, high]}
        print(f"{steps} more steps at lr {rate:g}: {gains.mean():+.4f} [{low:+.4f}, {high:+.4f}]", flush=True)
    write_text(json.dumps(result, indent=2) + "\n", folder / "base.json")


if __name__ == "__main__":
    typer.run(main)
