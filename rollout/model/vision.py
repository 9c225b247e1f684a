"""What a frozen vision tower makes of an image: computed once, used by sampling, old, reference and new log-probs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groundrl.rollout.model.head import backbone
from groundrl.rollout.model.private import EncodedImages

KEPT_BYTES = 2**31

Encode = Callable[[Tensor, Tensor], Any]


@dataclass(frozen=True, kw_only=True)
class Features:
    """One image's: what replaces its tokens' embeddings, and what is added after the first layers (deepstack)."""

    tokens: Float[Tensor, "t H"]
    levels: tuple[Float[Tensor, "t H"], ...]

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.tokens, *self.levels))


def frozen_tower(model: Any) -> nn.Module | None:
    """The vision tower with its merger, or None where there is none, it learns, or an adapter touches it."""
    tower: nn.Module | None = getattr(backbone(model), "visual", None)
    if tower is None or any(parameter.requires_grad for parameter in tower.parameters()):
        return None
    adapted = any(hasattr(module, "adapter_layer_names") for module in tower.modules())  # peft's layers have it
    return None if adapted else tower


@dataclass
class FeatureCache:
    """Features by (weights of the tower, image); the least recently used make room beyond `KEPT_BYTES`.

    A copy of the policy (the reference) may share it: its tower has the same weights, and if not, another key.
    """

    kept: OrderedDict[tuple[int, str], Features] = field(default_factory=OrderedDict)
    weights: dict[tuple[tuple[int, int], ...], int] = field(default_factory=dict)

    def features(
        self,
        tower: nn.Module,
        encode: Encode,
        *,
        keys: Sequence[str],
        pixel_values: Float[Tensor, "patches D"],
        image_grid_thw: Int[Tensor, "images 3"],
    ) -> list[Features]:
        """Those of each image, in order; what is not there is encoded in one call of `encode(pixels, grid)`."""
        version = self._version(tower)
        missing = [k for k, key in enumerate(keys) if (version, key) not in self.kept]
        found = {key: self.kept[version, key] for key in keys if (version, key) in self.kept}
        if missing:
            pixels = torch.split(pixel_values, image_grid_thw.prod(dim=1).tolist())
            # Sampling runs in inference mode; a tensor made there could not take part in learning.
            with torch.inference_mode(False), torch.no_grad():
                output = encode(torch.cat([pixels[k] for k in missing]), image_grid_thw[missing])
            levels = getattr(output, "deepstack_features", None) or []
            for index, k in enumerate(missing):
                found[keys[k]] = Features(
                    tokens=output.pooler_output[index].clone(), levels=tuple(level[index].clone() for level in levels)
                )
        for key, features in found.items():
            self.kept[version, key] = features
            self.kept.move_to_end((version, key))
        while len(self.kept) > len(found) and sum(features.bytes for features in self.kept.values()) > KEPT_BYTES:
            self.kept.popitem(last=False)
        return [found[key] for key in keys]

    def _version(self, tower: nn.Module) -> int:
        """A fingerprint of the tower's weights, taken again when one of them has been written to or moved."""
        identity = tuple((parameter.data_ptr(), parameter._version) for parameter in tower.parameters())
        if identity not in self.weights:
            with torch.inference_mode(False), torch.no_grad():
                sums = [(float(p.float().sum()), float(p.float().square().sum())) for p in tower.parameters()]
            self.weights[identity] = hash(tuple(sums))
        return self.weights[identity]


def as_encoder_output(features: Sequence[Features]) -> EncodedImages:
    """As the model's forward takes them (`mm_encoder_outputs`); an image may stand there several times."""
    return EncodedImages(
        pooler_output=tuple(image.tokens for image in features),
        deepstack_features=[list(level) for level in zip(*(image.levels for image in features), strict=True)],
    )
