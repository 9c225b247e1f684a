"""The images of a batch: each is encoded once, however many rows show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt
from groundrl.rollout.model.vision import as_encoder_output, frozen_tower


@dataclass(kw_only=True)  # not frozen: Lightning moves and casts the tensors of a batch in place
class Images:
    """Each distinct prompt's images once; `index[k]` is the image of the k-th image place of all rows, row by row."""

    pixel_values: Float[Tensor, "patches D"] | None
    image_grid_thw: Int[Tensor, "images 3"] | None
    index: list[int]
    keys: list[str]  # a hash of each image, where what the vision tower makes of it is kept; else empty

    @classmethod
    def of(cls, policy: Policy, rows: Sequence[Prompt]) -> Images:
        """The images that these rows show; rows of one prompt are the same object."""
        distinct = list({id(prompt): prompt for prompt in rows}.values())
        first, count = {}, 0
        for prompt in distinct:
            first[id(prompt)] = count
            count += prompt.num_images
        kept = frozen_tower(policy.model) is not None
        return cls(
            pixel_values=_cat([prompt.pixel_values for prompt in distinct]),
            image_grid_thw=_cat([prompt.image_grid_thw for prompt in distinct]),
            index=[first[id(prompt)] + image for prompt in rows for image in range(prompt.num_images)],
            keys=[key for prompt in distinct for key in prompt.image_keys] if kept else [],
        )

    def inputs(self, policy: Policy) -> dict[str, Any]:
        """The keyword arguments with which the model's forward sees them, on the policy's device."""
        if self.pixel_values is None or self.image_grid_thw is None:
            return {}
        device, tower = policy.device, frozen_tower(policy.model)
        pixels = {"pixel_values": self.pixel_values.to(device), "image_grid_thw": self.image_grid_thw.to(device)}
        if tower is not None and self.keys:
            found = policy.features.features(tower, policy.image_features, keys=self.keys, **pixels)
            output = as_encoder_output([found[image] for image in self.index])
        elif len(self.index) == len(self.image_grid_thw):
            return pixels
        else:
            output = self._repeated(policy.image_features(**pixels))
        return {"mm_encoder_outputs": {"image": output}}

    def _repeated(self, features: Any) -> Any:
        """The features of each image as often as rows ask for it; gradients of the repeats add up."""
        features.pooler_output = tuple(features.pooler_output[image] for image in self.index)
        if getattr(features, "deepstack_features", None) is not None:
            features.deepstack_features = [
                tuple(level[image] for image in self.index) for level in features.deepstack_features
            ]
        return features


def _cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(present) if present else None
