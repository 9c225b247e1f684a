"""Log-probabilities of completion tokens: the one definition that sampling, reference and update share."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from groundrl.rollout.batches import PaddedBatch
from groundrl.rollout.policy import Policy


def masked_log_softmax(
    logits: Float[Tensor, "*batch V"], allowed: Bool[Tensor, "V"], temperature: float
) -> Float[Tensor, "*batch V"]:
    """`log_softmax(masked logits / temperature)` in float32; what may never be sampled gets -inf."""
    scaled = logits.float() / temperature
    return torch.log_softmax(scaled.masked_fill(~allowed, -torch.inf), dim=-1)


def token_entropy(log_probs: Float[Tensor, "*batch V"]) -> Float[Tensor, "*batch"]:
    """Shannon entropy in nats of each distribution; tokens of probability 0 add nothing."""
    return -(log_probs.exp() * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)).sum(dim=-1)


class CompletionLogprobs(nn.Module):
    """The module given to Fabric: its forward is the only way into the model while learning."""

    def __init__(self, policy: Policy, *, temperature: float, entropy_grad: bool = False) -> None:
        super().__init__()
        self.model = policy.model
        self.temperature = temperature
        self.entropy_grad = entropy_grad  # an entropy bonus needs it; else it is a statistic
        self._policy = policy

    def forward(self, batch: PaddedBatch) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        """Log-probability and entropy at each completion token, float32; padded columns hold finite garbage."""
        completion_ids = batch.completion_ids.to(self._policy.device)
        logits = completion_logits(self._policy, batch)
        log_probs = masked_log_softmax(logits, self._policy.allowed.to(logits.device), self.temperature)
        # Padding may be a token that is never allowed: its -inf must not reach a masked sum (0 * -inf is nan).
        chosen = log_probs.gather(-1, completion_ids[..., None])[..., 0].clamp(min=-1e4)
        with torch.set_grad_enabled(self.entropy_grad and torch.is_grad_enabled()):
            entropy = token_entropy(log_probs)
        return chosen, entropy


def completion_logits(policy: Policy, batch: PaddedBatch) -> Float[Tensor, "N T V"]:
    """The model's own logits (soft-cap, scale and bias included) that predict each completion token."""
    width = batch.completion_ids.shape[1]
    keep = {"logits_to_keep": width + 1} if "logits_to_keep" in policy.forward_arguments else {}
    with policy.autocast(), policy.recomputing():
        logits: Tensor = policy.model(**batch.model_inputs(policy), **keep, use_cache=False).logits
    return logits[:, -width - 1 : -1]
