"""How does the policy learn? SFT on Lightning, RL on Fabric. Read `loop.py` first: one step.

Each name is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundrl.algorithms.advantages import ADVANTAGES
    from groundrl.algorithms.health import HealthWarning
    from groundrl.algorithms.learn_batch import LearnBatch
    from groundrl.algorithms.loop import RLStep, train_rl
    from groundrl.algorithms.objectives import OBJECTIVES
    from groundrl.algorithms.schema import CriticSettings, ObjectiveSettings
    from groundrl.algorithms.settings import RLSettings, SFTSettings
    from groundrl.algorithms.sft import train_sft
    from groundrl.algorithms.window import Window

_HOME = {
    "ADVANTAGES": "advantages",
    "CriticSettings": "schema",
    "HealthWarning": "health",
    "LearnBatch": "learn_batch",
    "OBJECTIVES": "objectives",
    "ObjectiveSettings": "schema",
    "RLSettings": "settings",
    "RLStep": "loop",
    "SFTSettings": "settings",
    "Window": "window",
    "train_rl": "loop",
    "train_sft": "sft",
}
__all__ = [
    "ADVANTAGES",
    "OBJECTIVES",
    "CriticSettings",
    "HealthWarning",
    "LearnBatch",
    "ObjectiveSettings",
    "RLSettings",
    "RLStep",
    "SFTSettings",
    "Window",
    "train_rl",
    "train_sft",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
