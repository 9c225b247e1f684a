"""The parts of the configuration that say what a stage does: its data, what it trains, how it learns."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from groundrl.experiments.config.model import CriticConfig, LoraConfig, Strict

if TYPE_CHECKING:
    from groundrl.algorithms.critic import CriticSettings
    from groundrl.algorithms.settings import RLSettings, SFTSettings
    from groundrl.rollout.model.adapters import LoraSettings

Source = str | dict[str, Any]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"  # becomes a folder's name


class Part(Strict):
    """One source of a mixture; its share of the draws is its weight over the sum of all."""

    data: Source
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)


def _kind(value: Any) -> str:
    """So that a fault in one of the three is not told as three faults."""
    if isinstance(value, str):
        return "<text>"
    return "<mapping>" if isinstance(value, dict) else "<mixture>"


Training = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[dict[str, Any], Tag("<mapping>")]
    | Annotated[tuple[Part, ...], Field(min_length=1), Tag("<mixture>")],
    Discriminator(_kind),
]


class DataConfig(Strict):
    """Where examples come from: a shipped name, a .jsonl path, or a mapping such as `{read: medqa, path: ...}`.

    `train` may be a mixture: `[{data: ..., weight: 2}, ...]`.
    `validation`: for evaluations within a stage and the loss there; without it those are on `test`.
    """

    train: Training | None = None
    validation: Source | None = None
    test: Source | None = None
    on_error: Literal["raise", "skip"] = "raise"


class StageData(Strict):
    """A stage's own training data."""

    train: Training


class ResolutionConfig(Strict):
    """The range of an image's pixels as the model sees it; what the keys mean: `Resolution`."""

    min_pixels: int = Field(ge=1)
    max_pixels: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> ResolutionConfig:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}")
        return self


class Stage(Strict):
    """What every stage has.

    `resolution`: null is what the model comes with, from the stage before or its own folder. `freeze`: what does not
    learn in this stage (`vision`, `merger`, `language`, `embeddings`, `layers.0-11`). `lora`: instead of `model.lora`.
    `keep_best`: a metric of metrics.jsonl, or held_out/ and one of evaluation.metrics (SFT: or held_out/loss).
    """

    name: str = Field(pattern=NAME)
    data: StageData | None = None
    resolution: ResolutionConfig | None = None
    freeze: tuple[str, ...] = ()
    lora: LoraConfig | Literal["off"] | None = None
    steps: int = Field(ge=1)
    weight_decay: float = Field(default=0.0, ge=0.0)
    max_grad_norm: float = Field(default=1.0, gt=0.0)
    checkpoint_every: int = Field(default=50, ge=0)
    keep_last: int = Field(default=2, ge=1)
    keep_best: str | None = None
    max_bad_steps: int = Field(default=5, ge=1)

    @field_validator("lora", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads off as false

    @field_validator("freeze")
    @classmethod
    def _parts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from groundrl.rollout.model.freezing import check_parts

        check_parts(value)
        return value


class SFTStage(Stage):
    """Supervised fine-tuning on gold answers; what the keys mean: `SFTSettings`."""

    kind: Literal["sft"]
    batch_size: int = Field(default=64, ge=1)
    micro_batch_size: int = Field(default=64, ge=1)
    pack_tokens: int = Field(default=0, ge=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=1e-5, gt=0.0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.05, ge=0.0, le=1.0)


class RLStage(Stage):
    """Reinforcement learning from the run's reward. What the keys mean: `RLSettings`, `ObjectiveSettings`.

    null is the objective's own (`clip_low`, `clip_high`), none (`dual_clip`), or k3, in the reward k1 (`kl_estimator`).
    """

    kind: Literal["rl"]
    advantage: str = "grpo"
    objective: str = "dapo"
    critic: CriticConfig | None = None
    prompts_per_step: int = Field(default=16, ge=1)
    group_size: int = Field(default=8, ge=2)
    epochs: int = Field(default=1, ge=1)
    micro_batch_tokens: int = Field(default=16_384, ge=1)
    update: Literal["auto", "padded", "packed", "prefix"] = "auto"
    lr: float = Field(default=1e-6, gt=0.0)
    warmup_steps: int = Field(default=5, ge=0)
    temperature: float = Field(default=1.0, gt=0.0)
    max_new_tokens: int = Field(default=256, ge=1)
    dynamic_sampling: int = Field(default=0, ge=0)
    mask_truncated: bool = False
    clip_low: float | None = Field(default=None, ge=0.0, lt=1.0)
    clip_high: float | None = Field(default=None, ge=0.0)
    dual_clip: float | None = Field(default=None, gt=1.0)
    kl_coef: float = Field(default=0.0, ge=0.0)
    kl_estimator: Literal["k1", "k2", "k3"] | None = None
    kl_in_reward: bool = False
    entropy_coef: float = Field(default=0.0, ge=0.0)
    importance_correction: Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = (
        "none"
    )
    importance_cap: float = Field(default=2.0, ge=1.0)
    on_reward_error: Literal["raise", "mask"] = "raise"
    reward_workers: int = Field(default=0, ge=0, le=256)
    reward_deadline: float = Field(default=10.0, gt=0.0)

    @model_validator(mode="after")
    def _known(self) -> RLStage:
        rl_settings(self, seed=0)  # refuses names that do not exist and keys that contradict each other
        return self


OF_THE_MODEL = ("data", "resolution", "freeze", "lora")  # what the pipeline sees to before a stage begins


def rl_settings(stage: RLStage, seed: int) -> RLSettings:
    """The settings of an RL stage. ValueError for keys that contradict each other: the settings see to it."""
    from groundrl.algorithms.objectives import ObjectiveSettings
    from groundrl.algorithms.settings import RLSettings
    from groundrl.rollout.sampling.engine import Sampling

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
    from groundrl.algorithms.settings import SFTSettings

    return SFTSettings(seed=seed, **stage.model_dump(exclude={"name", "kind", *OF_THE_MODEL}))


def critic_settings(critic: CriticConfig) -> CriticSettings:
    """The settings of an RL stage's critic."""
    from groundrl.algorithms.critic import CriticSettings

    lora = lora_settings(critic.lora) if critic.lora is not None else None
    return CriticSettings(**critic.model_dump(exclude={"lora"}), lora=lora)


def lora_settings(lora: LoraConfig) -> LoraSettings:
    """The settings of an adapter."""
    from groundrl.rollout.model.adapters import LoraSettings

    return LoraSettings(**lora.model_dump())
