"""The configuration: one YAML file is one run. Pydantic models with bounds; an unknown key is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from groundrl.experiments.model_config import CriticConfig, LoraConfig, ModelConfig, Strict
from groundrl.rewards.expression import nearest

RECIPES = Path(__file__).parent / "recipes"
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
    """Where examples come from: a shipped name, a .jsonl path, or `{coco: ..., images: ..., prompt: ...}`."""

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


class SFTStage(Stage):
    """Supervised fine-tuning on gold answers; `warmup` is a share of the steps."""

    kind: Literal["sft"]
    batch_size: int = Field(default=64, ge=1)
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
        return self


def load_config(source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]) -> tuple[RunConfig, Path]:
    """The configuration and the folder to which its paths are relative.

    `source` is a path, the name of a shipped recipe, or a mapping; `overrides` maps dotted keys to values, a stage by
    its name (`stages.rl.steps`).
    """
    base = Path.cwd()
    if isinstance(source, Mapping):
        data = dict(source)
    else:
        path = find_config(source)
        base = base if RECIPES in path.parents else path.resolve().parent
        try:
            data = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not YAML: {error}") from None
        if not isinstance(data, dict):
            raise ConfigError(f"{path} holds no mapping of keys to values")
    for key, value in overrides.items():
        _override(data, key, value)
    try:
        return RunConfig.model_validate(data), base
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(fault, data) for fault in error.errors())) from None


def find_config(source: str | Path) -> Path:
    """A path as it is, else the shipped recipe of that name."""
    if Path(source).is_file():
        return Path(source)
    recipe = RECIPES / f"{source}.yaml"
    if recipe.is_file():
        return recipe
    names = sorted(str(path.relative_to(RECIPES).with_suffix("")) for path in RECIPES.rglob("*.yaml"))
    raise ConfigError(f"there is no file and no recipe {str(source)!r}; the recipes are {', '.join(names)}")


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`["stages.rl.steps=20", "seed=3"]` as a mapping; values are read as YAML."""
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"an override is KEY=VALUE, got {pair!r}")
        # YAML 1.1 reads 1e-4 as text; a researcher means the number.
        parsed = yaml.safe_load(value)
        overrides[key] = _number(parsed) if isinstance(parsed, str) else parsed
    return overrides


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _override(data: dict[str, Any], key: str, value: Any) -> None:
    place: Any = data
    *parents, last = key.split(".")
    for parent in parents:
        if isinstance(place, list):
            found = [item for item in place if item.get("name") == parent]
            if not found:
                raise ConfigError(
                    f"{key}: there is no {parent!r} here; there are {', '.join(i['name'] for i in place)}"
                )
            place = found[0]
        else:
            place = place.setdefault(parent, {})
        if not isinstance(place, dict | list):
            raise ConfigError(f"{key}: {parent!r} is a value, it has no keys")
    if isinstance(place, list):
        raise ConfigError(f"{key}: name the stage's key as well, such as {key}.steps")
    place[last] = value


def _explain(fault: Any, data: Mapping[str, Any]) -> str:
    """One sentence of one pydantic fault, with the nearest valid key for an unknown one."""
    where: list[str] = []
    for step in fault["loc"]:
        if isinstance(step, int):
            where.append(str(data["stages"][step].get("name", step)) if where == ["stages"] else str(step))
        elif step not in ("sft", "rl") or where[:1] != ["stages"] or len(where) != 2:
            where.append(str(step))
    key = ".".join(where)
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key}{nearest(str(fault['loc'][-1]), _valid_keys(fault['loc']))}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _valid_keys(loc: Sequence[int | str]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "model": ModelConfig,
        "lora": LoraConfig,
        "critic": CriticConfig,
        "data": DataConfig,
        "evaluation": EvaluationConfig,
        "hardware": HardwareConfig,
        "sft": SFTStage,
        "rl": RLStage,
    }
    inside = [str(step) for step in loc[:-1] if str(step) in sections]
    model = sections[inside[-1]] if inside else RunConfig
    return list(model.model_fields)
