"""Prompts and completions as padded batches: prompts end and completions begin at the same column.

This is one of the three equal forms of an update; `packed.py` and `prefix.py` hold those that read a prompt once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundrl.rollout.forward.images import Images
from groundrl.rollout.model.head import backbone
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt


@dataclass(kw_only=True)  # not frozen: Lightning moves and casts the tensors of a batch in place
class PaddedBatch:
    """N rows `[padding, prompt, completion, padding]`: each completion is computed with a prompt of its own."""

    input_ids: Int[Tensor, "N L"]
    attention_mask: Int[Tensor, "N L"]
    position_ids: Int[Tensor, "axes N L"]
    image_tokens: Bool[Tensor, "N L"]
    images: Images
    completion_ids: Int[Tensor, "N T"]
    completion_mask: Float[Tensor, "N T"]

    def model_inputs(self, policy: Policy) -> dict[str, Any]:
        """The keyword arguments of the model's forward, on the policy's device; images are encoded once a prompt."""
        inputs = token_inputs(policy, self.input_ids, self.position_ids, self.image_tokens)
        return inputs | {"attention_mask": self.attention_mask.to(policy.device)} | self.images.inputs(policy)

    def hidden(self, policy: Policy) -> Float[Tensor, "N T H"]:
        """One forward over all rows."""
        width = self.completion_ids.shape[1]
        states: Tensor = backbone(policy.model)(**self.model_inputs(policy), use_cache=False).last_hidden_state
        return states[:, -width - 1 : -1]


def pad_batch(
    policy: Policy,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    *,
    sampled: Sequence[Sequence[bool]] | None = None,
) -> PaddedBatch:
    """One row for each prompt with its completion (which may be empty: then the batch is ready for sampling)."""
    before = max(len(prompt) for prompt in prompts)
    completion_ids, completion_mask = pad_completions(policy, completions, sampled)
    shape = (len(prompts), before + completion_ids.shape[1])
    input_ids = torch.full(shape, policy.pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    position_ids = torch.zeros((len(prompts[0].position_ids), *shape), dtype=torch.long)
    image_tokens = torch.zeros(shape, dtype=torch.bool)
    for row, (prompt, ids) in enumerate(zip(prompts, completions, strict=True)):
        start, end = before - len(prompt), before + len(ids)
        input_ids[row, start:before] = prompt.ids
        attention_mask[row, start:end] = 1
        image_tokens[row, start:before] = prompt.image_tokens
        position_ids[:, row, start:before] = prompt.position_ids
        position_ids[:, row, before:end] = next_position(prompt) + torch.arange(len(ids))
    input_ids[:, before:] = completion_ids
    return PaddedBatch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        image_tokens=image_tokens,
        images=Images.of(policy, prompts),
        completion_ids=completion_ids,
        completion_mask=completion_mask,
    )


def pad_completions(
    policy: Policy, completions: Sequence[Sequence[int]], sampled: Sequence[Sequence[bool]] | None
) -> tuple[Int[Tensor, "N T"], Float[Tensor, "N T"]]:
    """Ids and mask, as wide as the longest completion; without `sampled` the policy has written every token."""
    shape = (len(completions), max(len(ids) for ids in completions))
    completion_ids = torch.full(shape, policy.pad_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.float32)
    for row, ids in enumerate(completions):
        completion_ids[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        mask[row, : len(ids)] = torch.tensor(sampled[row], dtype=torch.float32) if sampled is not None else 1.0
    return completion_ids, mask


def next_position(prompt: Prompt) -> int:
    """The position of the first completion token: one past the largest of the prompt, on every axis (M-RoPE)."""
    return int(prompt.position_ids.max()) + 1


def token_inputs(
    policy: Policy,
    input_ids: Int[Tensor, "rows L"],
    position_ids: Int[Tensor, "axes rows L"],
    image_tokens: Bool[Tensor, "rows L"],
) -> dict[str, Any]:
    """The keyword arguments for tokens and their places, those of them that this model takes."""
    inputs: dict[str, Any] = {"input_ids": input_ids.to(policy.device)}
    if "position_ids" in policy.forward_arguments:
        axes = position_ids.to(policy.device)
        inputs["position_ids"] = axes if len(axes) > 1 else axes[0]
    if "mm_token_type_ids" in policy.forward_arguments:
        inputs["mm_token_type_ids"] = image_tokens.int().to(policy.device)
    return inputs
