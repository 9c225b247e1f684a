"""A stage of the configuration as the training loop takes it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from groundrl.algorithms.critic import CriticSettings
from groundrl.algorithms.objectives import ObjectiveSettings
from groundrl.algorithms.settings import RLSettings, SFTSettings
from groundrl.rollout.adapters import LoraSettings
from groundrl.rollout.engine import Sampling

if TYPE_CHECKING:
    from groundrl.experiments.model_config import CriticConfig, LoraConfig
    from groundrl.experiments.stage_config import RLStage, SFTStage

OF_THE_MODEL = ("data", "resolution", "freeze", "lora")  # what the pipeline sees to before a stage begins


def rl_settings(stage: RLStage, seed: int) -> RLSettings:
    """The settings of an RL stage. ValueError for keys that contradict each other: the settings see to it."""
    keys = stage.model_dump(exclude={"kind", "on_reward_error", "critic", *OF_THE_MODEL})
    keys = {**keys, "seed": seed, "on_error": stage.on_reward_error}
    keys["critic"] = critic_settings(stage.critic) if stage.critic is not None else None
    nested = {"sampling": Sampling, "clipping": ObjectiveSettings}
    parts = {
        name: kind(**{field.name: keys.pop(field.name) for field in fields(kind) if field.name in keys})
        for name, kind in nested.items()
    }
    return RLSettings(**keys, **parts)


def sft_settings(stage: SFTStage, seed: int) -> SFTSettings:
    """The settings of an SFT stage."""
    return SFTSettings(seed=seed, **stage.model_dump(exclude={"name", "kind", *OF_THE_MODEL}))


def critic_settings(critic: CriticConfig) -> CriticSettings:
    """The settings of an RL stage's critic."""
    lora = lora_settings(critic.lora) if critic.lora is not None else None
    return CriticSettings(**critic.model_dump(exclude={"lora"}), lora=lora)


def lora_settings(lora: LoraConfig) -> LoraSettings:
    """The settings of an adapter."""
    return LoraSettings(**lora.model_dump())
