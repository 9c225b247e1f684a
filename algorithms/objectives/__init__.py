"""Objectives, `objective(logprobs_NT, batch, settings) -> (loss, stats)`: one small file each and one line here."""

from __future__ import annotations

from groundrl.algorithms.objectives.dapo import dapo
from groundrl.algorithms.objectives.grpo import grpo
from groundrl.algorithms.objectives.losses import Objective, ObjectiveSettings

OBJECTIVES: dict[str, Objective] = {
    "dapo": dapo,
    "grpo": grpo,
}

__all__ = ["OBJECTIVES", "Objective", "ObjectiveSettings"]
