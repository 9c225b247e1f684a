"""Hugging Face models in and out: from a folder or an id, and back as a folder that plain `from_pretrained` loads."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from groundrl.rollout.model.private import attention_choice

Precision = Literal["float32", "bfloat16"]
Quantization = Literal["4bit"]
PLACE = "cuda"  # where a model in 4 bits is made: on the process's own device


def load_model(
    path: str | Path, config: Any, *, init: Literal["pretrained", "random"], seed: int, quantization: Any | None
) -> Any:
    """The model in float32, with sdpa where the architecture has it; `init="random"` takes its architecture only."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    auto: Any = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
    if init == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return auto.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    where = {"quantization_config": quantization, "device_map": PLACE} if quantization is not None else {}
    try:
        return auto.from_pretrained(
            path, dtype=torch.float32, attn_implementation=attention_choice(auto, config), **where
        )
    except OSError as error:
        raise ValueError(f"{path} has no weights that can be loaded: {error}") from error


def best_device() -> torch.device:
    """The machine's accelerator (CUDA, ROCm, MPS, ...), else its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def load_image_processor(path: str | Path) -> Any:
    """The image processor of a vision model; its AutoProcessor would need torchvision."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(path)
    except OSError as error:
        raise ValueError(f"{path} is a vision model without a preprocessor_config.json: {error}") from error


def quantization_config(quantize: Quantization | None, dtype: Precision) -> Any | None:
    """bitsandbytes' 4-bit settings (QLoRA, arXiv 2305.14314): NF4, double quantisation; vision tower and head whole.

    ValueError where the machine cannot: without CUDA, or without bitsandbytes.
    """
    if quantize is None:
        return None
    if not torch.cuda.is_available():
        raise ValueError("model.quantize 4bit needs a CUDA device, and there is none here: leave it out")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError('model.quantize 4bit needs bitsandbytes: pip install "groundrl[qlora]"')
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        llm_int8_skip_modules=["model.visual", "lm_head"],
    )


def enable_checkpointing(model: Any) -> None:
    """Recompute the layers' activations in the backward pass. ValueError where the architecture cannot."""
    if not model.supports_gradient_checkpointing:
        raise ValueError(f"model.gradient_checkpointing: {type(model).__name__} has none, set it to false")
    model.activation_checkpointing_enable({"use_reentrant": False})


def save_weights(model: Any, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write a folder as if `model` were a plain model of its class with these weights, whatever is built into it."""
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain = type(model)(config)
    plain.generation_config = model.generation_config
    plain.save_pretrained(folder, state_dict=dict(weights))
