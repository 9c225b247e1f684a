"""Advantage estimators, `estimator(window) -> advantages_NT`: one small file each and one line here."""

from __future__ import annotations

from groundrl.algorithms.advantages.dr_grpo import dr_grpo
from groundrl.algorithms.advantages.gae import gae
from groundrl.algorithms.advantages.gdpo import gdpo
from groundrl.algorithms.advantages.grpo import grpo
from groundrl.algorithms.advantages.reinforce_pp import reinforce_pp
from groundrl.algorithms.advantages.rloo import rloo
from groundrl.algorithms.advantages.shared import Estimator, estimator

ADVANTAGES: dict[str, Estimator] = {
    "dr_grpo": dr_grpo,
    "gae": gae,
    "gdpo": gdpo,
    "grpo": grpo,
    "reinforce_pp": reinforce_pp,
    "rloo": rloo,
}

__all__ = ["ADVANTAGES", "Estimator", "estimator"]
