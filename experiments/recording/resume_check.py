"""A resumed run is the run that began: the same configuration, the same reward, or a person says otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.run import ConfigError, RunConfig
from groundrl.experiments.recording.folder import RunFolder, plan
from groundrl.rewards import Reward
from groundrl.rollout.io.records import write_text

# How often and how many checkpoints are written, who scores and logs, and whether the reward is audited change nothing.
FREE = {"checkpoint_every", "keep_last", "keep_best", "reward_workers", "audit", "loggers"}


def check_unchanged(folder: RunFolder, config: RunConfig, reward: Reward | None, *, allow: bool) -> list[str]:
    """What has changed since the run began, in words. ConfigError where something has and it is not allowed.

    A key that is younger than the run stood at its default then.
    """
    before, now = folder.environment, plan(config, reward)
    began = load_config(before["config"], {})[0].model_dump(mode="json")  # an older version knew fewer keys
    changes = list(_differences(began, now["config"]))
    if before["reward"] != now["reward"]:
        changes.append(
            f"the reward's fingerprint: {before['reward']} -> {now['reward']} (its source, data or versions)"
        )
    if changes and not allow:
        raise ConfigError(
            f"{folder.path} began with something else, so that its curves would join two runs: {'; '.join(changes)}. "
            "Put it back, start a run of another name, or go on all the same with --allow-changed"
        )
    return changes


def note_change(folder: RunFolder, config: RunConfig, reward: Reward | None, changes: list[str]) -> None:
    """Write into environment.json what has changed, and that it is what the run has from now on."""
    content = folder.environment
    content |= {**plan(config, reward), "changed": [*content.get("changed", []), changes]}
    write_text(json.dumps(content, indent=2) + "\n", folder.path / "environment.json")


def other_threads(folder: RunFolder) -> str | None:
    """A sentence where this process has another number of threads than the run began with."""
    before, now = folder.environment["threads"], torch.get_num_threads()
    if before == now:
        return None
    return f"the run began with {before} threads and goes on with {now}: results may differ in the last bits"


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """`stages.rl.lr: 0.1 -> 0.2` for each value that differs; stages are named."""
    before, now = _named(before), _named(now)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in [*before, *(name for name in now if name not in before)]:
            if name not in FREE:
                yield from _differences(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    elif before != now:
        yield f"{key}: {before!r} -> {now!r}"


def _named(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value):
        return {item["name"]: item for item in value}
    return value
