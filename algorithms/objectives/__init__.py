"""Objectives, `objective(logprobs_NT, batch, settings) -> (loss, stats)`: one small file each and one line here."""

from __future__ import annotations

from groundrl.algorithms.objectives.cispo import cispo
from groundrl.algorithms.objectives.dapo import dapo
from groundrl.algorithms.objectives.dr_grpo import dr_grpo
from groundrl.algorithms.objectives.grpo import grpo
from groundrl.algorithms.objectives.gspo import gspo
from groundrl.algorithms.objectives.ppo import ppo
from groundrl.algorithms.objectives.shared import Objective, entropy_bonus, objective

OBJECTIVES: dict[str, Objective] = {
    "cispo": cispo,
    "dapo": dapo,
    "dr_grpo": dr_grpo,
    "grpo": grpo,
    "gspo": gspo,
    "ppo": ppo,
}

__all__ = ["OBJECTIVES", "Objective", "entropy_bonus", "objective"]
