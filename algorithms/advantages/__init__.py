"""Advantage estimators, `estimator(window) -> advantages_NT`: one small file each and one line here."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages.dr_grpo import dr_grpo
from groundrl.algorithms.advantages.gae import gae
from groundrl.algorithms.advantages.gdpo import gdpo
from groundrl.algorithms.advantages.grpo import grpo
from groundrl.algorithms.advantages.reinforce_pp import reinforce_pp
from groundrl.algorithms.advantages.rloo import rloo
from groundrl.algorithms.window import Window

Estimator = Callable[[Window], Float[Tensor, "N T"]]

ADVANTAGES: dict[str, Estimator] = {
    "dr_grpo": dr_grpo,
    "gae": gae,
    "gdpo": gdpo,
    "grpo": grpo,
    "reinforce_pp": reinforce_pp,
    "rloo": rloo,
}
KL_IN_REWARD = ("gae", "reinforce_pp", "rloo")  # those that take `kl_in_reward` into account
BEYOND_THE_GROUP = ("gae", "reinforce_pp")  # those that learn from a group without variance as well
