"""A stage of the configuration as the training loop takes it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from groundrl.algorithms.critic import CriticSettings
from groundrl.algorithms.objectives import ObjectiveSettings
from groundrl.algorithms.settings import RLSettings
from groundrl.rollout.adapters import LoraSettings
from groundrl.rollout.engine import Sampling

if TYPE_CHECKING:
    from groundrl.experiments.config import RLStage
    from groundrl.experiments.model_config import CriticConfig, LoraConfig


def rl_settings(stage: RLStage, seed: int) -> RLSettings:
    """The settings of an RL stage. ValueError for keys that contradict each other: the settings see to it."""
    keys = stage.model_dump(exclude={"kind", "data", "on_reward_error", "critic"})
    keys = {**keys, "seed": seed, "on_error": stage.on_reward_error}
    keys["critic"] = critic_settings(stage.critic) if stage.critic is not None else None
    nested = {"sampling": Sampling, "clipping": ObjectiveSettings}
    parts = {
        name: kind(**{field.name: keys.pop(field.name) for field in fields(kind) if field.name in keys})
        for name, kind in nested.items()
    }
    return RLSettings(**keys, **parts)


def critic_settings(critic: CriticConfig) -> CriticSettings:
    """The settings of an RL stage's critic."""
    lora = lora_settings(critic.lora) if critic.lora is not None else None
    return CriticSettings(**critic.model_dump(exclude={"lora"}), lora=lora)


def lora_settings(lora: LoraConfig) -> LoraSettings:
    """The settings of an adapter."""
    return LoraSettings(**lora.model_dump())
