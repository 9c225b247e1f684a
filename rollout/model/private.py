"""What is used of transformers and peft beyond their documented faces, all of it here: a release may rename any of it.

The tests run from the lowest to the newest release of the ranges in pyproject.toml (`make test-latest`). What a
benchmark calls of TRL's trainer stands in its contender alone (`experiments/bench/rollouts/contenders.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peft.tuners.lora import LoraLayer, LoraModel
from peft.utils import ModulesToSaveWrapper
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.utils.generic import ModelOutput

__all__ = [  # of peft; what follows is of transformers
    "LoraLayer",
    "LoraModel",
    "ModulesToSaveWrapper",
    "dequantize_module_weight",
]

CACHE_NAMES = ("cache", "past_key_values", "cache_params")  # since 5.24; before it of attention, and of Mamba


def forward_arguments(model: Any) -> frozenset[str]:
    """The names that the model's forward takes."""
    return frozenset(inspect.signature(model.forward).parameters)


def cache_name(arguments: frozenset[str]) -> str | None:
    """What a forward with these arguments, and its output, call the cache; None where it takes none."""
    return next((name for name in CACHE_NAMES if name in arguments), None)


def attention_name(config: Any) -> str | None:
    """The implementation that the language model's layers attend with, or None: it is not a model of transformers."""
    if not hasattr(config, "_attn_implementation"):
        return None
    name: str = config.get_text_config(decoder=True)._attn_implementation
    return name


def is_recurrent(config: Any) -> bool:
    """Whether no layer keeps keys and values, but each a state of fixed size, as Mamba's do."""
    layers = DynamicCache(config=config).layers
    return bool(layers) and not any(hasattr(layer, "keys") for layer in layers)


def other_layers(config: Any) -> list[str] | None:
    """The kinds of layers that do not attend to all tokens before them; None where every layer does.

    An empty list: there are fewer caches than layers.
    """
    layers = DynamicCache(config=config).layers
    other = sorted({type(layer).__name__ for layer in layers if type(layer) is not DynamicLayer})
    full = not other and len(layers) == config.get_text_config(decoder=True).num_hidden_layers
    return None if full else other


def attention_choice(auto: Any, config: Any) -> str | None:
    """sdpa where the architecture that `auto` would load has it, else None: its own default."""
    model_class = auto._model_mapping.get(type(config), None)
    model_class = model_class[0] if isinstance(model_class, tuple) else model_class
    return "sdpa" if getattr(model_class, "_supports_sdpa", False) else None


@dataclass
class EncodedImages(ModelOutput):
    """What a vision tower has made of each image, as a Qwen3-VL's forward takes it (`mm_encoder_outputs`)."""

    pooler_output: Sequence[Tensor] | None = None
    deepstack_features: Sequence[Sequence[Tensor]] | None = None


def processor_class(model_type: str) -> type[Any] | None:
    """The class of a vision-language architecture's processor, without its video and audio parts; None: not known."""
    from transformers.models.auto.auto_mappings import PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    from transformers.models.auto.processing_auto import processor_class_from_name

    name = PROCESSOR_MAPPING_NAMES.get(model_type)
    if model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or name is None:
        return None
    return images_only(processor_class_from_name(name))


def images_only(whole: Any) -> type[Any]:
    """A processor's class with its tokenizer and image parts alone."""

    def attributes(cls: type[Any]) -> list[str]:
        return [part for part in whole.get_attributes() if "image" in part or "tokenizer" in part]

    return type(whole.__name__, (whole,), {"get_attributes": classmethod(attributes)})


def qwen_image_processor(**settings: Any) -> Any:
    """Qwen-VL's image processor on Pillow alone: the one by its documented name needs torchvision."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(**settings)
