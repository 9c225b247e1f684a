"""Advantage estimators, `estimator(window) -> advantages_NT`: one small file each and one line here."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.advantages.grpo import grpo
from groundrl.algorithms.window import Window

Estimator = Callable[[Window], Float[Tensor, "N T"]]

ADVANTAGES: dict[str, Estimator] = {
    "grpo": grpo,
}
