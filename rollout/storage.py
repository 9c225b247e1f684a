"""Frozen weights in half the bytes: what autocast rounds at every product need not be kept in float32."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn


def compact(model: Any, *, exported: bool) -> None:
    """Store the frozen matrices of linear layers in bfloat16, for a model that computes in it by autocast.

    No result changes: autocast makes each of them bfloat16 at every product, which this saves, with half their memory.
    `exported`: the model will be written to a file. Then a matrix without an adapter is left as it is unless bfloat16
    holds it exactly (as of a checkpoint in bfloat16); one with an adapter is exported as what was computed with.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    adapted = {id(module.get_base_layer()) for module in model.modules() if isinstance(module, LoraLayer)}
    for module in model.modules():
        if type(module) is not nn.Linear or module.weight.requires_grad or id(module.weight) in tables:
            continue
        if module.weight.dtype == torch.float32 and (
            not exported or id(module) in adapted or torch.equal(module.weight, module.weight.bfloat16().float())
        ):
            module.weight.data = module.weight.detach().bfloat16()
