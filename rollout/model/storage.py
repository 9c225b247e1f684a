"""Frozen weights in half the bytes: what autocast rounds at every product need not be kept in float32."""

from __future__ import annotations

import torch
from torch import nn

from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.private import LoraLayer


def store_frozen_in_bfloat16(policy: Policy, *, exported: bool) -> None:
    """Store the frozen matrices of linear layers in bfloat16 where the policy computes in it; else do nothing.

    No result changes: autocast makes each of them bfloat16 at every product, which this saves, with half their memory.
    `exported`: the model will be written to a file. Then a matrix without an adapter is left as it is unless bfloat16
    holds it exactly (as of a checkpoint in bfloat16); one with an adapter is exported as what was computed with. An
    adapter that is added later learns in float32 too, from values that bfloat16 holds.
    """
    if not policy.autocast_enabled:
        return
    model = policy.model
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    adapted = {id(module.get_base_layer()) for module in model.modules() if isinstance(module, LoraLayer)}
    for module in model.modules():
        if type(module) is not nn.Linear or module.weight.requires_grad or id(module.weight) in tables:
            continue
        if module.weight.dtype == torch.float32 and (
            not exported or id(module) in adapted or torch.equal(module.weight, module.weight.bfloat16().float())
        ):
            module.weight.data = module.weight.detach().bfloat16()
