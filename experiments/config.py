"""The configuration: one YAML file is one run. Pydantic models with bounds; an unknown key is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from groundrl.experiments.model_config import CriticConfig, ModelConfig, Strict
from groundrl.rewards.expression import nearest

METRICS = (
    "iou_mean",
    "iou_mean_greedy",
    "iou_mean_cool",
    "iou_best_of_n",
    "iou_positive",
    "iou_positive_greedy",
    "reward_mean",
    "label_accuracy",
    "fact_f1",
    "fact_f1_greedy",
    "format_rate",
    "completion_length",
)
Source = str | dict[str, Any]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"  # becomes a folder's name


class ConfigError(ValueError):
    """A fault in the configuration: which key, what is wrong, what would be right."""


class DataConfig(Strict):
    """Where examples come from: a shipped name, a .jsonl path, or a mapping such as `{read: medqa, path: ...}`."""

    train: Source | None = None
    test: Source | None = None
    on_error: Literal["raise", "skip"] = "raise"


class StageData(Strict):
    """A stage's own training data."""

    train: Source


class Stage(Strict):
    """What every stage has."""

    name: str = Field(pattern=NAME)
    data: StageData | None = None
    steps: int = Field(ge=1)
    weight_decay: float = Field(default=0.0, ge=0.0)
    max_grad_norm: float = Field(default=1.0, gt=0.0)
    checkpoint_every: int = Field(default=50, ge=0)
    keep_last: int = Field(default=2, ge=1)
    max_bad_steps: int = Field(default=5, ge=1)


class SFTStage(Stage):
    """Supervised fine-tuning on gold answers; `warmup` is a share of the steps."""

    kind: Literal["sft"]
    batch_size: int = Field(default=64, ge=1)
    micro_batch_size: int = Field(default=64, ge=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=1e-5, gt=0.0)
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
    keep_best: str | None = None  # a metric of metrics.jsonl, or held_out/ and one of evaluation.metrics

    @model_validator(mode="after")
    def _known(self) -> RLStage:
        from groundrl.algorithms.advantages import ADVANTAGES
        from groundrl.algorithms.objectives import OBJECTIVES
        from groundrl.experiments.stage_settings import rl_settings

        choices: list[tuple[str, str, Sequence[str]]] = [
            ("advantage", self.advantage, list(ADVANTAGES)),
            ("objective", self.objective, list(OBJECTIVES)),
        ]
        for key, name, known in choices:
            if name not in known:
                raise ValueError(f"{key}: there is no {name!r}; choose from {', '.join(known)}")
        rl_settings(self, seed=0)  # refuses keys that contradict each other
        return self


class EvaluationConfig(Strict):
    """At the end of each stage on `data.test`: T = 1 samples, half as many at T = 0.5, and one greedy answer.

    `every`: also within RL stages after so many steps, one sample and one greedy answer each; 0 is not at all.
    """

    samples_per_example: int = Field(default=8, ge=1)
    every: int = Field(default=0, ge=0)
    max_new_tokens: int = Field(default=256, ge=1)
    metrics: tuple[str, ...] = METRICS

    @model_validator(mode="after")
    def _known(self) -> EvaluationConfig:
        for metric in self.metrics:
            if metric not in METRICS:
                raise ValueError(f"there is no metric {metric!r}{nearest(metric, METRICS)}")
        return self


class HardwareConfig(Strict):
    """Passed on to Lightning. `threads`: of one process on the CPU; null leaves torch's choice."""

    accelerator: str = "auto"
    devices: int = Field(default=1, ge=1)
    strategy: str = "auto"
    threads: int | None = Field(default=None, ge=1)


class RunConfig(Strict):
    """One run: stages one after the other, from one model, with one seed."""

    name: str = Field(pattern=NAME)
    seed: int = Field(default=0, ge=0, lt=2**63)
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    rewards: dict[str, str] = Field(default_factory=dict)
    reward: str | None = None
    audit: Literal["warn", "off"] = "warn"  # attack the reward on a few examples before RL, and warn
    stages: tuple[Annotated[SFTStage | RLStage, Field(discriminator="kind")], ...] = Field(min_length=1)
    evaluation: EvaluationConfig = EvaluationConfig()
    hardware: HardwareConfig = HardwareConfig()
    loggers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ("tensorboard",)

    @field_validator("audit", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads off as false

    @model_validator(mode="after")
    def _whole(self) -> RunConfig:
        names = [stage.name for stage in self.stages]
        if "test" in names:
            raise ValueError("a stage cannot be called 'test': that is the evaluation's data")
        if len(set(names)) < len(names):
            raise ValueError(f"stages need different names, got {', '.join(names)}")
        for stage in self.stages:
            if stage.data is None and self.data.train is None:
                raise ValueError(f"stage {stage.name!r} has no data: set data.train or stages.{stage.name}.data.train")
            if isinstance(stage, RLStage) and stage.keep_best is not None:
                self._check_best(stage.keep_best)
        return self

    def _check_best(self, metric: str) -> None:
        held_out, _, name = metric.rpartition("held_out/")
        if held_out or not metric.startswith("held_out/"):
            return  # of the rollouts
        if name not in self.evaluation.metrics:
            raise ValueError(f"keep_best: there is no metric {metric!r}{nearest(name, self.evaluation.metrics)}")
        if self.data.test is None or not self.evaluation.every:
            raise ValueError(f"keep_best: {metric} is measured within a stage only with data.test and evaluation.every")
