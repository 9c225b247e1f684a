"""PPO's critic: what the rest of an answer will be worth, token by token, and how it learns that."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor, nn

from groundrl.algorithms.advantages.gae import gae
from groundrl.algorithms.learn_batch import LearnBatch
from groundrl.algorithms.schema import CriticSettings
from groundrl.algorithms.window import Window
from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.model.policy import Policy

CRITIC = "critic"  # the name of its adapter


class ValueHead(nn.Module):
    """`V_t = w . norm(h_t) / sqrt(H) + b`, with h_t the last hidden state before token t; 0 at first.

    The norm (of features, without weights) and the root make one learning rate fit models of any width.
    """

    def __init__(self, width: int, adapter: list[nn.Parameter]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(()))
        self.adapter = nn.ParameterList(adapter)  # part of the model, but the critic's to train

    def forward(self, hidden: Float[Tensor, "*batch H"]) -> Float[Tensor, "*batch"]:
        """Values in float32 whatever the model computes in."""
        width = hidden.shape[-1]
        states = torch.nn.functional.layer_norm(hidden.float(), (width,))
        values: Tensor = (states * self.weight).sum(dim=-1) / width**0.5 + self.bias
        return values


def value_losses(
    values_NT: Float[Tensor, "N T"],
    old_values_NT: Float[Tensor, "N T"],
    returns_NT: Float[Tensor, "N T"],
    *,
    clip: float | None,
) -> Float[Tensor, "N T"]:
    """`max((V - R)^2, (old + clamp(V - old, -c, c) - R)^2) / 2` for each token.

    A value that has moved by more than c towards its return gets no further gradient in this window. Source: the PPO2
    of OpenAI baselines; Huang et al. (2022), "The 37 implementation details of PPO", number 9.
    """
    losses = (values_NT - returns_NT).square()
    if clip is not None:
        clipped = old_values_NT + (values_NT - old_values_NT).clamp(-clip, clip)
        losses = torch.maximum(losses, (clipped - returns_NT).square())
    return losses / 2


def return_sums(window: Window, *, discount: float) -> Float[Tensor, "5"]:
    """Number, sum and sum of squares of the tokens' discounted returns, and sum and squares of `return - value`."""
    assert window.values_NT is not None
    nothing = replace(window, values_NT=torch.zeros_like(window.values_NT))
    returns_NT = gae(nothing, discount=discount, decay=1.0)  # without values and decay: the rewards ahead
    kept = window.completion_mask_NT.bool()
    returns, errors = returns_NT[kept].double(), (returns_NT - window.values_NT)[kept].double()
    count = torch.tensor(float(len(returns)), dtype=torch.float64)
    return torch.stack([count, returns.sum(), returns.square().sum(), errors.sum(), errors.square().sum()])


def explained_variance(sums: Float[Tensor, "5"]) -> float:
    """`1 - Var(return - value) / Var(return)` over tokens: 1 for a perfect critic, 0 for one that knows the mean."""
    count, total, squares, error, error_squares = sums.double().tolist()
    variance = squares - total**2 / max(count, 1.0)
    return 1.0 - (error_squares - error**2 / max(count, 1.0)) / variance if variance > 1e-12 else float("nan")


class Critic:
    """The value head (and adapter) with its optimiser. Make it after the policy's own optimiser."""

    def __init__(self, policy: Policy, settings: CriticSettings, fabric: Fabric, *, seed: int) -> None:
        self.policy = policy
        self.settings = settings
        self.fabric = fabric
        adapter: list[nn.Parameter] = []
        if settings.lora is not None:
            if policy.adapters.active is None:
                raise ValueError("critic.lora rests on frozen weights: set model.lora, or leave critic.lora out")
            policy.adapters.add(CRITIC, settings.lora, seed=seed)
            adapter = list(policy.adapters.parameters(CRITIC).values())
        head = ValueHead(policy.model.config.get_text_config(decoder=True).hidden_size, adapter)
        optimizer = torch.optim.AdamW(head.parameters(), lr=settings.lr, weight_decay=0.0)
        self.head, self.optimizer = fabric.setup(head, optimizer)

    @property
    def apart(self) -> bool:
        """Whether it has an adapter, and so a forward and a backward of its own."""
        return self.settings.lora is not None

    def values(self, batch: Batch, hidden: Float[Tensor, "N T H"] | None) -> Float[Tensor, "N T"]:
        """The value before each token from the policy's hidden states; `apart` from its own, inside `adapted`."""
        if self.apart:
            with self.policy.autocast(), self.policy.recomputing():
                hidden = batch.hidden(self.policy)
        assert hidden is not None
        kept = batch.completion_mask.bool().to(hidden.device)  # elsewhere a state may be anything
        states = hidden[kept]
        if not self.apart:
            share = self.settings.vf_coef
            states = share * states + (1.0 - share) * states.detach() if share else states.detach()
        return torch.zeros(kept.shape, device=hidden.device).masked_scatter(kept, self.head(states))

    def begin(self, mean_return: float) -> None:
        """Before its first update: start from the mean return, which else takes it many updates to find."""
        with torch.no_grad():
            self.head.module.bias.fill_(mean_return)

    def adapted(self) -> AbstractContextManager[None]:
        """Around a forward and its backward (which may compute layers again): its adapter is the active one."""
        return self.policy.adapters.only(CRITIC) if self.apart else nullcontext()

    def loss(self, batch: LearnBatch, hidden: Float[Tensor, "N T H"] | None) -> Float[Tensor, ""]:
        """The micro-batch's share of the mean value loss over all tokens of the step."""
        assert batch.old_values_NT is not None
        assert batch.returns_NT is not None
        values_NT = self.values(batch.inputs, hidden)
        losses = value_losses(values_NT, batch.old_values_NT, batch.returns_NT, clip=self.settings.value_clip)
        return (losses * batch.completion_mask_NT).sum() / batch.total_tokens

    def update(self, *, max_norm: float) -> None:
        """Clip and step; a gradient that is not finite never reaches the weights."""
        norm = self.fabric.clip_gradients(self.head, self.optimizer, max_norm=max_norm, error_if_nonfinite=False)
        if norm is not None and torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs."""
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
