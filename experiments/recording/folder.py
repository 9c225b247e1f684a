"""A run's folder: what lies where, and what the run depended on."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from groundrl.experiments.config.run import ConfigError, RunConfig
from groundrl.rewards import Reward
from groundrl.rollout.io.records import SCHEMA_VERSION, replace_folder, write_text

PACKAGES = ("groundrl", "torch", "transformers", "lightning", "peft", "accelerate", "trl", "numpy", "scipy", "pyarrow")


class RunFolder:
    """The paths of DESIGN's run folder under `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.health = path / "health.jsonl"
        self.rollouts = path / "rollouts"
        self.evaluation = path / "evaluation.json"
        self.curves = path / "curves.png"

    def checkpoint(self, stage: str) -> Path:
        """The Hugging Face folder of a stage's final policy."""
        return self.path / "checkpoints" / stage

    def evaluation_rows(self, stage: str, *, step: int | None = None) -> Path:
        """The evaluated completions at the end of a stage, or after a step within it."""
        folder = self.path / "evaluation"
        return folder / f"{stage}.parquet" if step is None else folder / stage / f"step-{step:06d}.parquet"

    def cut_evaluations(self, stage: str, *, keep_until: int) -> None:
        """Remove a stage's evaluations past this step of it: they are made again."""
        within = self.evaluation_rows(stage).with_suffix("")
        for file in within.glob("step-*.parquet"):
            if int(file.stem.removeprefix("step-")) > keep_until:
                file.unlink()
        self.evaluation_rows(stage).unlink(missing_ok=True)

    @property
    def environment(self) -> dict[str, Any]:
        """What the run depends on: environment.json."""
        content: dict[str, Any] = json.loads((self.path / "environment.json").read_text())
        return content

    def create(
        self, config: RunConfig, base: Path, reward: Reward | None, user_files: Sequence[Path], *, overwrite: bool
    ) -> None:
        """Make the folder with its configuration, environment and the user's code; refuse one that exists."""
        if self.path.exists():
            if not overwrite:
                raise ConfigError(
                    f"the run {self.path} exists; continue it with `groundrl resume {self.path}`, choose another name "
                    "(name=...), or replace it with --overwrite"
                )
            if not self.config.is_file():
                raise ConfigError(f"{self.path} exists and is not a run's folder; it is not overwritten")
        partial = self.path.with_name(f".{self.path.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), partial / "config.yaml")
        write_text(json.dumps(environment(config, base, reward), indent=2) + "\n", partial / "environment.json")
        for index, file in enumerate(user_files):
            shutil.copyfile(file, partial / ("reward.py" if index == 0 else f"reward_{index}.py"))
        replace_folder(partial, self.path)


def environment(config: RunConfig, base: Path, reward: Reward | None) -> dict[str, Any]:
    """What a run depended on beside its configuration: versions, machine, threads, command."""
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "schema": SCHEMA_VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "packages": versions,
        "command": sys.argv,
        "seed": config.seed,
        "base": str(base.resolve()),
        **plan(config, reward),
    }


def plan(config: RunConfig, reward: Reward | None) -> dict[str, Any]:
    """What a resumed run must find as it was: the configuration and the reward's fingerprint."""
    return {"config": config.model_dump(mode="json"), "reward": reward.fingerprint if reward is not None else None}
