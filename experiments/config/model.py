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


BoxWriting = Annotated[str, AfterValidator(box_writing)]


class ModelConfig(Settings):
    """The model that is trained, and in what form."""

    path: str = Field(default="base", description="`base` (embedded), a Hugging Face folder, or an id.")
    init: Literal["pretrained", "random"] = Field(
        default="pretrained", description="`random` takes the architecture alone, without the weights."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="What is computed in; weights and losses stay float32."
    )
    freeze_vision: bool = Field(
        default=False,
        description="Never train the vision tower nor its merger; an image is then encoded once a step.",
    )
    lora: LoraSettings | None = Field(
        default=None,
        description="Train an adapter in each stage instead of all weights; a stage ends with it merged.",
    )
    quantize: Literal["4bit"] | None = Field(
        default=None, description="Under an adapter the weights are held in 4 bits (QLoRA; CUDA only)."
    )
    gradient_checkpointing: bool = Field(default=False, description="Less memory, more time.")
    boxes: BoxWriting = Field(
        default="as_data",
        description="How the model writes boxes: as the data have them, in `seen_pixels` of the image as the model "
        "sees it, or in a family's format such as `qwen3_vl`.",
    )
    chat_template_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the chat template, such as `{enable_thinking: false}`."
    )

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
