"""Which parts of a model learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from groundrl.rollout.model.head import backbone
from groundrl.rollout.model.parts import LAYERS, check_parts
from groundrl.rollout.model.policy import Policy

VISION = ("vision", "merger")


def freeze(policy: Policy, parts: Sequence[str]) -> None:
    """Let everything of the model learn but these parts.

    `vision`: the vision tower; `merger`: what turns its features into tokens, deepstack's too; `language`: the whole
    language model; `embeddings`: its table of tokens, and the head where both are one; `layers.0-11`: those of its
    layers, counted from 0, both ends included. ValueError for a part that this model does not have.
    """
    check_parts(parts)
    policy.model.requires_grad_(True)
    for part in parts:
        for module in _modules(policy, part):
            module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in policy.model.parameters()):
        raise ValueError(f"freeze: with {', '.join(parts)} frozen nothing is left to learn")


def _modules(policy: Policy, part: str) -> Iterator[nn.Module]:
    model: Any = policy.model
    if part in VISION:
        tower: Any = getattr(backbone(model), "visual", None)
        if tower is None:
            raise ValueError(f"freeze: the model has no vision tower, leave {part} out")
        mergers = [child for name, child in tower.named_children() if "merger" in name]
        yield from mergers if part == "merger" else (child for child in tower.children() if child not in mergers)
    elif part == "language":
        yield model.get_decoder()
    elif part == "embeddings":
        yield model.get_input_embeddings()
    else:
        found = LAYERS.fullmatch(part)
        assert found is not None
        layers, last = model.get_decoder().layers, int(found[2] or found[1])
        if last >= len(layers):
            raise ValueError(f"freeze: the model has the layers 0 to {len(layers) - 1}, {part} goes beyond")
        yield from layers[int(found[1]) : last + 1]
