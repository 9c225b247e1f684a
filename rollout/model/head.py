"""A causal language model in two parts: the layers up to the last hidden state, and the head that makes logits."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def bare(model: Any) -> Any:
    """The Hugging Face model itself, also where peft has wrapped it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def backbone(model: Any) -> Any:
    """Everything but the head (vision tower included); it returns `last_hidden_state`."""
    return getattr(bare(model), "base_model", bare(model))


def head_logits(model: Any, hidden: Float[Tensor, "*batch H"]) -> Float[Tensor, "*batch V"]:
    """The model's own logits of these states: its head with bias, its scale and its soft-cap.

    `Cohere` multiplies by `logit_scale`, `Granite` divides by `logits_scaling`, and `Gemma` squashes:
    `cap * tanh(logits / cap)`.
    """
    config = bare(model).config
    text = config.get_text_config(decoder=True)
    logits: Tensor = model.get_output_embeddings()(hidden)
    if (scale := getattr(text, "logit_scale", None)) is not None:
        logits = logits * scale
    if (divisor := getattr(text, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (cap := getattr(text, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits


@torch.no_grad()
def has_known_head(model: Any) -> bool:
    """Whether `head_logits` of the backbone's states are the logits that the model itself computes, on a few tokens."""
    inner = bare(model)
    if getattr(inner, "base_model", inner) is inner or inner.get_output_embeddings() is None:
        return False
    device = next(inner.parameters()).device
    ids = torch.arange(4, device=device)[None]
    own = model(input_ids=ids, use_cache=False).logits
    states = getattr(backbone(model)(input_ids=ids, use_cache=False), "last_hidden_state", None)
    return states is not None and torch.allclose(head_logits(model, states).float(), own.float(), atol=1e-4, rtol=1e-4)
