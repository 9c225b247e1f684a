"""One vector for each example out of the model's last hidden states: what retrieval compares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from groundrl.rewards import Example
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.model.head import backbone
from groundrl.rollout.model.policy import Policy

ROWS = 16  # examples a forward


@torch.no_grad()
def pooled(policy: Policy, examples: Sequence[Example]) -> Float[Tensor, "N H"]:
    """The mean of the last hidden states over each prompt's tokens, in float32, of length 1, on the CPU.

    In order of the examples; batches are of prompts of similar length. No answer is read: an answer's text is
    compared as the prompt of an example of its own.
    """
    prompts = [policy.encode(example) for example in examples]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    rows: dict[int, Tensor] = {}
    for begin in range(0, len(order), ROWS):
        indices = order[begin : begin + ROWS]
        batch = pad_batch(policy, [prompts[index] for index in indices], [()] * len(indices))
        with policy.autocast():
            states = backbone(policy.model)(**batch.model_inputs(policy), use_cache=False).last_hidden_state
        mask = batch.attention_mask.to(states.device)[:, :, None].float()
        means = (states.float() * mask).sum(dim=1) / mask.sum(dim=1)
        rows |= dict(zip(indices, torch.nn.functional.normalize(means, dim=-1).cpu(), strict=True))
    return torch.stack([rows[index] for index in range(len(prompts))])
