"""The parts of the configuration that say what is trained: the model and its adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from groundrl.rewards.boxes.formats import FORMATS
from groundrl.rewards.expression import nearest
from groundrl.rollout.settings import LoraSettings, Settings

BASE = Path(__file__).parents[1] / "base"  # the embedded model


def box_writing(name: str) -> str:
    """A checked value of `model.boxes`."""
    if name not in ("as_data", "seen_pixels", *FORMATS):
        raise ValueError(f"there is no box format {name!r}{nearest(name, ['as_data', 'seen_pixels', *FORMATS])}")
    return name


class ModelConfig(Settings):
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
    lora: LoraSettings | None = None
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


def model_path(name: str, base: Path) -> str | Path:
    """The model that `model.path` names: the embedded one, a folder (relative to `base`), or an id."""
    if name == "base":
        return BASE
    return base / name if (base / name).exists() else name
