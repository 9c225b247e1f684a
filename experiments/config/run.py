"""The configuration: one YAML file is one run. Pydantic models with bounds; an unknown key is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from groundrl.experiments.config.model import ModelConfig
from groundrl.experiments.config.stage import NAME, DataConfig, RLStage, Seed, SFTStage
from groundrl.experiments.metrics.figures import (
    DEFAULTS_BEFORE,
    check_figure,
    check_own_name,
    default_figures,
    figure,
)
from groundrl.rollout.sampling.engines import engine_settings
from groundrl.rollout.settings import MaxNewTokens, Settings

HELD_OUT_LOSS = "held_out/loss"
USER_CODE = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")


class ConfigError(ValueError):
    """A fault in the configuration: which key, what is wrong, what would be right."""


def check_own_metrics(metrics: Mapping[str, str]) -> None:
    """ValueError for a user's metric that cannot be called so, or is not written as `file.py:name`."""
    for name, written in metrics.items():
        check_own_name(name)
        if not USER_CODE.fullmatch(written.strip()):
            raise ValueError(f"metrics.{name}: write file.py:name, got {written!r}")


class EvaluationConfig(Settings):
    """At the end of each stage on `data.test`: T = 1 samples, half as many at T = 0.5, and one greedy answer."""

    samples_per_example: int = Field(default=8, ge=1, description="Samples at T = 1.")
    every: int = Field(
        default=0,
        ge=0,
        description="Also within a stage after so many steps, on `data.validation` where there is one: one sample and "
        "one greedy answer each, and in SFT the loss on the gold answers; 0 is not at all.",
    )
    max_new_tokens: MaxNewTokens = 256
    metrics: tuple[str, ...] | None = Field(
        default=None,
        description="Names of the registry or of the run's own `metrics`, with `_greedy` or `_cool` (T = 0.5) for "
        "those decodings; null: what the data can be asked.",
    )

    @field_validator("metrics")
    @classmethod
    def _recorded_before(cls, metrics: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if metrics == DEFAULTS_BEFORE else metrics


class HardwareConfig(Settings):
    """Where it runs; all but the threads is passed on to Lightning."""

    accelerator: str = Field(default="auto", description="`cpu`, `cuda`, `mps`, or `auto`: the best that is there.")
    devices: int = Field(default=1, ge=1, description="Of one machine, a process each; start them with `torchrun`.")
    strategy: str = Field(default="auto", description="How processes share the work; `auto` is `ddp` for several.")
    threads: int | None = Field(default=None, ge=1, description="Of a process on the CPU; null: torch's choice.")


class RunConfig(Settings):
    """One run: stages one after the other, from one model, with one seed."""

    name: str = Field(pattern=NAME, description="Of the run's folder.")
    seed: Seed = 0
    model: ModelConfig = Field(default=ModelConfig(), description="What is trained.")
    data: DataConfig = Field(default=DataConfig(), description="What it learns from and is measured on.")
    rewards: dict[str, str] = Field(
        default_factory=dict,
        description="Parts of the reward by name, each an expression such as `SoftF1()`, or `file.py:name` of your "
        "own; the names are those of metrics and legends.",
    )
    reward: str | None = Field(
        default=None,
        description="What RL maximises: an expression over the parts and the shipped rewards, such as "
        "`0.6*box + 0.4*label`, or `file.py:name`. An RL stage needs one.",
    )
    metrics: dict[str, str] = Field(default_factory=dict, description="Your own, each name with its `file.py:name`.")
    audit: Literal["warn", "off"] = Field(
        default="warn", description="Attack the reward on a few examples before RL, and warn where it can be gamed."
    )
    stages: tuple[Annotated[SFTStage | RLStage, Field(discriminator="kind")], ...] = Field(
        min_length=1, description="In their order; each begins with the policy that the one before it left."
    )
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="What is measured, and when.")
    engine: str | dict[str, dict[str, Any]] = Field(
        default="local",
        description="What samples answers: a name, or a name with its settings, such as `{local: {max_rows: 256}}`: "
        "at most so many completions at a time.",
    )
    hardware: HardwareConfig = Field(default=HardwareConfig(), description="Devices, processes and threads.")
    loggers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        default=("tensorboard",), description="Where curves go, beside `metrics.jsonl`."
    )

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, value: str | dict[str, dict[str, Any]]) -> str | dict[str, dict[str, Any]]:
        engine_settings(value)
        return value

    @field_validator("audit", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads off as false

    @property
    def figures(self) -> tuple[str, ...]:
        """What is measured on held-out examples, as far as they can be asked it."""
        return self.evaluation.metrics if self.evaluation.metrics is not None else default_figures(self.metrics)

    @model_validator(mode="after")
    def _whole(self) -> RunConfig:
        self._check_metrics()
        names = [stage.name for stage in self.stages]
        for name in {"test", "validation"} & set(names):
            raise ValueError(f"a stage cannot be called {name!r}: that is the evaluation's data")
        if len(set(names)) < len(names):
            raise ValueError(f"stages need different names, got {', '.join(names)}")
        for stage in self.stages:
            if stage.data is None and self.data.train is None:
                raise ValueError(f"stage {stage.name!r} has no data: set data.train or stages.{stage.name}.data.train")
            self._check_stage(stage)
        return self

    def _check_metrics(self) -> None:
        check_own_metrics(self.metrics)
        for name in self.evaluation.metrics or ():
            try:
                check_figure(name, self.metrics)
            except ValueError as error:
                raise ValueError(f"evaluation.metrics: {error}") from None

    def _check_stage(self, stage: SFTStage | RLStage) -> None:
        if stage.freeze and (stage.lora or self.model.lora) not in (None, "off"):
            raise ValueError(f"stage {stage.name!r}: an adapter trains nothing else, leave freeze out or set lora: off")
        if self.model.quantize is not None and stage.lora == "off":
            raise ValueError(f"stage {stage.name!r}: weights in 4 bits cannot be trained, leave lora: off out")
        if stage.keep_best == HELD_OUT_LOSS and isinstance(stage, RLStage):
            raise ValueError("keep_best: held_out/loss is the loss on gold answers, which only SFT stages have")
        if stage.keep_best is not None:
            self._check_best(stage.keep_best)

    def _check_best(self, metric: str) -> None:
        held_out, _, name = metric.rpartition("held_out/")
        if held_out or not metric.startswith("held_out/"):
            return  # of the rollouts
        if metric != HELD_OUT_LOSS and name not in self.figures:
            try:
                check_figure(name, self.metrics)
            except ValueError as error:
                raise ValueError(f"keep_best: {error}") from None
            raise ValueError(f"keep_best: {name} is not measured; add it to evaluation.metrics")
        if figure(name).decoding == "cool":
            raise ValueError(f"keep_best: {metric} is not measured within a stage; leave _cool out")
        if (self.data.validation or self.data.test) is None or not self.evaluation.every:
            raise ValueError(
                f"keep_best: {metric} is measured within a stage only with evaluation.every and data.validation "
                "(or data.test)"
            )
