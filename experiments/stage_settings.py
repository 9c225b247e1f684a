"""A stage of the configuration as the training loop takes it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from groundrl.algorithms.objectives import ObjectiveSettings
from groundrl.algorithms.settings import RLSettings
from groundrl.rollout.engine import Sampling

if TYPE_CHECKING:
    from groundrl.experiments.config import RLStage


def rl_settings(stage: RLStage, seed: int) -> RLSettings:
    """The settings of an RL stage. ValueError for keys that contradict each other: the settings see to it."""
    keys = stage.model_dump(exclude={"kind", "data", "on_reward_error"})
    keys = {**keys, "seed": seed, "on_error": stage.on_reward_error}
    nested = {"sampling": Sampling, "clipping": ObjectiveSettings}
    parts = {
        name: kind(**{field.name: keys.pop(field.name) for field in fields(kind) if field.name in keys})
        for name, kind in nested.items()
    }
    return RLSettings(**keys, **parts)
