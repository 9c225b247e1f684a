"""The parts of the configuration that say what is trained: the model, its adapter, its critic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from groundrl.rewards.boxes.formats import FORMATS
from groundrl.rewards.expression import nearest

BASE = Path(__file__).parents[1] / "base"  # the embedded model


class Strict(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def box_writing(name: str) -> str:
    """A checked value of `model.boxes`."""
    if name not in ("as_data", "seen_pixels", *FORMATS):
        raise ValueError(f"there is no box format {name!r}{nearest(name, ['as_data', 'seen_pixels', *FORMATS])}")
    return name


class LoraConfig(Strict):
    """A low-rank adapter; what the keys mean: `LoraSettings`."""

    rank: int = Field(default=16, ge=1, le=4096)
    alpha: float = Field(default=32.0, gt=0.0)
    targets: str | tuple[str, ...] = "language"
    modules_to_save: tuple[str, ...] = ()
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class ModelConfig(Strict):
    """`path`: `base` (embedded), a Hugging Face folder or an id. `init: random` takes its architecture only.

    `freeze_vision`: never train the vision tower nor its merger; an image is then encoded once a step.
    `lora`: train an adapter in each stage instead of all weights; a stage ends with it merged. `quantize: 4bit`: under
    an adapter the weights are held in 4 bits (QLoRA; CUDA only). `gradient_checkpointing`: less memory, more time.
    `boxes`: how the model writes them: `as_data` says, in `seen_pixels`, or a family's format such as `qwen3_vl`.
    """

    path: str = "base"
    init: Literal["pretrained", "random"] = "pretrained"
    dtype: Literal["float32", "bfloat16"] = "float32"
    freeze_vision: bool = False
    lora: LoraConfig | None = None
    quantize: Literal["4bit"] | None = None
    gradient_checkpointing: bool = False
    boxes: Annotated[str, AfterValidator(box_writing)] = "as_data"
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _trainable(self) -> ModelConfig:
        if self.quantize is not None and self.lora is None:
            raise ValueError("quantize: weights in 4 bits cannot be trained, set lora too, such as lora: {rank: 16}")
        if self.quantize is not None and self.init == "random":
            raise ValueError("quantize: random weights are not worth quantising, leave init out")
        return self


class CriticConfig(Strict):
    """The critic of `advantage: gae`; what the keys mean: `CriticSettings`."""

    lr: float = Field(default=0.003, gt=0.0)
    warmup_steps: int = Field(default=1, ge=0)
    vf_coef: float = Field(default=0.0, ge=0.0)
    value_clip: float | None = Field(default=0.2, gt=0.0)
    discount: float = Field(default=1.0, ge=0.0, le=1.0)
    decay: float = Field(default=1.0, ge=0.0, le=1.0)
    lora: LoraConfig | None = None


def model_path(name: str, base: Path) -> str | Path:
    """The model that `model.path` names: the embedded one, a folder (relative to `base`), or an id."""
    if name == "base":
        return BASE
    return base / name if (base / name).exists() else name
