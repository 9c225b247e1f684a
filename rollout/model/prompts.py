"""From an example to what a chat template takes: turns with image parts, and the encoded prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundrl.rewards import DataError
from groundrl.rewards.core.glossary import IMAGE_MARK

QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """An example as the model reads it: P tokens, with each image's tokens expanded and its patches ready."""

    ids: Int[Tensor, "P"]
    position_ids: Int[Tensor, "axes P"]  # one axis for text, three for M-RoPE
    image_tokens: Bool[Tensor, "P"]
    pixel_values: Float[Tensor, "patches D"] | None = None
    image_grid_thw: Int[Tensor, "images 3"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_images(self) -> int:
        """How many images it shows."""
        return 0 if self.image_grid_thw is None else len(self.image_grid_thw)

    @cached_property
    def image_keys(self) -> tuple[str, ...]:
        """A hash of each image as the model sees it: its patches and their grid."""
        if self.pixel_values is None or self.image_grid_thw is None:
            return ()
        patches = torch.split(self.pixel_values, self.image_grid_thw.prod(dim=1).tolist())
        return tuple(
            hashlib.blake2b(part.numpy().tobytes() + str(grid).encode(), digest_size=16).hexdigest()
            for part, grid in zip(patches, self.image_grid_thw.tolist(), strict=True)
        )


def with_images(messages: Sequence[Mapping[str, object]], count: int, id: str) -> list[dict[str, Any]]:
    """Chat turns whose `<image>` marks became image parts; without marks the images lead the first user turn."""
    if count == 0:
        return [dict(turn) for turn in messages]
    marks = sum(turn["content"].count(IMAGE_MARK) for turn in messages if isinstance(turn["content"], str))
    parts_given = any(not isinstance(turn["content"], str) for turn in messages)
    if marks not in (0, count) and not parts_given:
        raise DataError(f"example {id!r} has {count} image(s) but {marks} {IMAGE_MARK} marks in its text")
    lead = count if marks == 0 and not parts_given else 0
    turns = []
    for turn in messages:
        content: Any = turn["content"]
        if isinstance(content, str):
            pieces = content.split(IMAGE_MARK)
            content = [{"type": "image"}] * (lead if turn["role"] == "user" else 0)
            lead = 0 if turn["role"] == "user" else lead
            for k, piece in enumerate(pieces):
                content += [{"type": "image"}] * (k > 0) + [{"type": "text", "text": piece}] * (piece != "")
        turns.append({"role": turn["role"], "content": content})
    return turns


def plain_text(turns: Sequence[Mapping[str, Any]]) -> str:
    """The turns one under the other, for a model without a chat template."""
    parts = [
        turn["content"]
        if isinstance(turn["content"], str)
        else "".join(QWEN_IMAGE if part["type"] == "image" else part["text"] for part in turn["content"])
        for turn in turns
    ]
    return "\n".join(parts)
