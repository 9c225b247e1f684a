"""How large an image is when the model sees it: Qwen-VL's rule, by a range of pixels."""

from __future__ import annotations

import sys
from typing import Any

from groundrl.rewards import BoxSpace, DataError, Example, pixel
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.settings import Resolution


def set_resolution(policy: Policy, resolution: Resolution) -> None:
    """From now on images are resized to this range; the policy's folder keeps it, as the model has learned it.

    ValueError where the model reads no images, or with a rule of its own.
    """
    processor: Any = policy.image_processor
    if processor is None:
        raise ValueError("resolution: the model reads no images, leave it out")
    if not hasattr(processor, "merge_size"):
        raise ValueError(f"resolution: {type(processor).__name__} has no range of pixels, leave it out")
    smallest = (processor.patch_size * processor.merge_size) ** 2
    if resolution.max_pixels < smallest:
        raise ValueError(f"resolution: an image of this model has at least {smallest} pixels, one token")
    size = type(processor.size)
    processor.size = size(shortest_edge=resolution.min_pixels, longest_edge=resolution.max_pixels)
    policy.forget_prompts()


def seen_size(policy: Policy, width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels of such an image as the model sees it."""
    processor: Any = policy.image_processor
    if processor is None or not hasattr(processor, "merge_size"):
        raise ValueError("the model reads no images, or resizes them with a rule of its own")
    rule: Any = sys.modules[type(processor).__module__].smart_resize  # its own, whichever backend it is
    tall, wide = rule(
        height,
        width,
        factor=processor.patch_size * processor.merge_size,
        min_pixels=processor.size["shortest_edge"],
        max_pixels=processor.size["longest_edge"],
    )
    return int(wide), int(tall)


def seen_space(policy: Policy, example: Example) -> BoxSpace:
    """Pixels of the example's only image as the model sees it: the space in which Qwen2.5-VL writes boxes."""
    if len(example.images) != 1:
        raise DataError(
            f"example {example.id!r}: boxes in pixels need one image, it has {len(example.images)}; use rel1000"
        )
    return pixel(*seen_size(policy, example.images[0].width, example.images[0].height))
