"""Prompts and completions as padded batches: prompts end and completions begin at the same column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundrl.rollout.policy import Policy
from groundrl.rollout.prompts import Prompt


@dataclass(kw_only=True)  # not frozen: Lightning moves and casts the tensors of a batch in place
class PaddedBatch:
    """N rows `[padding, prompt, completion, padding]` and which of their columns are completion tokens.

    `completion_mask` is 1 where a completion token exists and was sampled by the policy, so that it is learned from.
    `pixel_values` and `image_grid_thw` hold each prompt's images once, however many rows it has; `image_index[k]`
    is the image that belongs to the k-th image place of the rows, read row by row.
    """

    input_ids: Int[Tensor, "N L"]
    attention_mask: Int[Tensor, "N L"]
    position_ids: Int[Tensor, "axes N L"]
    image_tokens: Bool[Tensor, "N L"]
    pixel_values: Float[Tensor, "patches D"] | None
    image_grid_thw: Int[Tensor, "images 3"] | None
    image_index: list[int]
    completion_ids: Int[Tensor, "N T"]
    completion_mask: Float[Tensor, "N T"]

    def model_inputs(self, policy: Policy) -> dict[str, Any]:
        """The keyword arguments of the model's forward, on the policy's device; images are encoded once a prompt."""
        device = policy.device
        inputs: dict[str, Any] = {
            "input_ids": self.input_ids.to(device),
            "attention_mask": self.attention_mask.to(device),
        }
        if "position_ids" in policy.forward_arguments:
            axes = self.position_ids.to(device)
            inputs["position_ids"] = axes if len(axes) > 1 else axes[0]
        if "mm_token_type_ids" in policy.forward_arguments:
            inputs["mm_token_type_ids"] = self.image_tokens.int().to(device)
        if self.pixel_values is not None and self.image_grid_thw is not None:
            images = {"pixel_values": self.pixel_values.to(device), "image_grid_thw": self.image_grid_thw.to(device)}
            if len(self.image_index) == len(self.image_grid_thw):
                return inputs | images
            inputs["mm_encoder_outputs"] = {"image": self._repeated(policy.image_features(**images))}
        return inputs

    def _repeated(self, features: Any) -> Any:
        """The features of each image as often as rows ask for it; gradients of the repeats add up."""
        features.pooler_output = tuple(features.pooler_output[image] for image in self.image_index)
        if getattr(features, "deepstack_features", None) is not None:
            features.deepstack_features = [
                tuple(level[image] for image in self.image_index) for level in features.deepstack_features
            ]
        return features


def pad_batch(
    policy: Policy,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    *,
    sampled: Sequence[Sequence[bool]] | None = None,
) -> PaddedBatch:
    """One row for each prompt with its completion (which may be empty: then the batch is ready for sampling)."""
    before = max(len(prompt) for prompt in prompts)
    after = max(len(ids) for ids in completions)
    rows = len(prompts)
    shape = (rows, before + after)
    input_ids = torch.full(shape, policy.pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    position_ids = torch.zeros((len(prompts[0].position_ids), *shape), dtype=torch.long)
    image_tokens = torch.zeros(shape, dtype=torch.bool)
    completion_mask = torch.zeros((rows, after), dtype=torch.float32)
    distinct, image_index = _images_once(prompts)
    for row, (prompt, ids) in enumerate(zip(prompts, completions, strict=True)):
        start, end = before - len(prompt), before + len(ids)
        input_ids[row, start:before] = prompt.ids
        input_ids[row, before:end] = torch.tensor(ids, dtype=torch.long)
        attention_mask[row, start:end] = 1
        image_tokens[row, start:before] = prompt.image_tokens
        position_ids[:, row, start:before] = prompt.position_ids
        position_ids[:, row, before:end] = next_position(prompt) + torch.arange(len(ids))
        mask = torch.tensor(sampled[row], dtype=torch.float32) if sampled is not None else torch.ones(len(ids))
        completion_mask[row, : len(ids)] = mask
    return PaddedBatch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        image_tokens=image_tokens,
        pixel_values=_cat([prompt.pixel_values for prompt in distinct]),
        image_grid_thw=_cat([prompt.image_grid_thw for prompt in distinct]),
        image_index=image_index,
        completion_ids=input_ids[:, before:],
        completion_mask=completion_mask,
    )


def next_position(prompt: Prompt) -> int:
    """The position of the first completion token: one past the largest of the prompt, on every axis (M-RoPE)."""
    return int(prompt.position_ids.max()) + 1


def _images_once(prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[int]]:
    """The distinct prompts, and for each image place of all rows the number of its image among theirs."""
    distinct = list({id(prompt): prompt for prompt in prompts}.values())
    first, count = {}, 0
    for prompt in distinct:
        first[id(prompt)] = count
        count += len(prompt.image_grid_thw) if prompt.image_grid_thw is not None else 0
    index = [
        first[id(prompt)] + image
        for prompt in prompts
        if prompt.image_grid_thw is not None
        for image in range(len(prompt.image_grid_thw))
    ]
    return distinct, index


def _cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(present) if present else None
