"""The optimisers of supervised stages: AdamW, or Muon on the hidden matrices with AdamW on the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from groundrl.algorithms.schema import OptimizerName


def make_optimizer(model: nn.Module, *, name: OptimizerName, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """An optimiser over what is trainable in `model`.

    `muon` orthogonalises the momentum of every hidden matrix (Jordan et al., 2024) and scales it to AdamW's update
    size (Liu et al., 2025, "Muon is scalable for LLM training", equation 4), so that one `lr` serves both halves.
    Embeddings, the head, norms, biases and convolutions have no such matrix and stay with AdamW.
    """
    trainable = {key: p for key, p in model.named_parameters() if p.requires_grad}
    if name == "adamw":
        return torch.optim.AdamW(trainable.values(), lr=lr, weight_decay=weight_decay)
    matrices = {key: p for key, p in trainable.items() if p.ndim == 2 and not _is_table(model, key)}
    rest = [p for key, p in trainable.items() if key not in matrices]
    muon = torch.optim.Muon(matrices.values(), lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    return Chained([muon, torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay)])


def _is_table(model: nn.Module, key: str) -> bool:
    """Whether a parameter belongs to an embedding or to the head: its rows are tokens, not features."""
    owner = model.get_submodule(key.rpartition(".")[0])
    return isinstance(owner, nn.Embedding) or key.endswith("lm_head.weight")


class Chained(torch.optim.Optimizer):
    """Several optimisers that step as one; their parameter groups are shared, so that one schedule reaches all."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Evaluate the closure once, then step each part."""
        loss: Tensor | None = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
