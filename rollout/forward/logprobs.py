"""Log-probabilities of completion tokens: the one definition that sampling, reference and update share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.forward.batches import PaddedBatch
from groundrl.rollout.model.head import has_known_head, head_logits
from groundrl.rollout.model.policy import Policy

# A chunk of tokens: with fewer, adding up the gradients of the head would cost more than they do; with more logits,
# a CPU's allocator would not keep the memory (16 MB in float32) for the next chunk.
CHUNK_TOKENS, CHUNK_LOGITS = 256, 2**22
NEVER = -1e30  # the logit of what may not be sampled: finite, so that 0 times it is 0


def masked_log_softmax(
    logits: Float[Tensor, "*batch V"], allowed: Bool[Tensor, "V"], temperature: float
) -> Float[Tensor, "*batch V"]:
    """`log_softmax(masked logits / temperature)` in float32; what may never be sampled gets -inf."""
    scaled = logits.float() / temperature
    return torch.log_softmax(scaled.masked_fill(~allowed, -torch.inf), dim=-1)


def token_entropy(log_probs: Float[Tensor, "*batch V"]) -> Float[Tensor, "*batch"]:
    """Shannon entropy in nats of each distribution; tokens of probability 0 add nothing."""
    return -(log_probs.exp() * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)).sum(dim=-1)


class TokenLogprobs(torch.autograd.Function):
    """What `masked_log_softmax` gives for a chosen token, and the entropy as a statistic, in few passes over `[m, V]`.

    With z the masked logits over temperature and p = softmax(z): log p(id) = z(id) - lse(z), its gradient by the logits
    is (onehot(id) - p) / temperature, and the entropy is lse(z) - sum(p z).
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Float[Tensor, "m V"],
        ids: Int[Tensor, "m"],
        forbidden: Float[Tensor, "V"],
        temperature: float,
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m"]]:
        """`forbidden` is `NEVER` where a token may not be sampled, else 0."""
        scores = torch.add(forbidden, logits, alpha=1 / temperature)
        largest = scores.amax(dim=-1, keepdim=True)
        weights = (scores - largest).exp_()
        total = weights.sum(dim=-1)
        normaliser = largest[:, 0] + total.log()
        ctx.save_for_backward(weights, total, ids)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        entropy = normaliser - torch.einsum("mv,mv->m", weights, scores) / total
        ctx.mark_non_differentiable(entropy)
        return scores.gather(-1, ids[:, None])[:, 0] - normaliser, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """From the gradient of the log-probs; the entropy has none."""
        weights, total, ids = ctx.saved_tensors
        scaled = gradients[0] / ctx.temperature
        of_logits = weights * (-scaled / total)[:, None]
        of_logits.scatter_add_(1, ids[:, None], scaled[:, None])
        return of_logits.to(ctx.dtype), None, None, None


class CompletionLogprobs(nn.Module):
    """The module given to Fabric: its forward is the only way into the model while learning.

    Logits are made for learned tokens only, in chunks, and once more in the backward: `[T, V]` is never held. Where the
    model does something to its logits that `head_logits` does not know, they come from the model's own forward.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        temperature: float,
        entropy_grad: bool = False,
        allowed: Bool[Tensor, "V"] | None = None,
    ) -> None:
        super().__init__()
        self.allowed = policy.allowed if allowed is None else allowed  # over which the probabilities sum up to 1
        self.model = policy.model
        self.temperature = temperature
        self.entropy_grad = entropy_grad  # an entropy bonus needs it; else it is a statistic
        with policy.autocast():
            self.splits_head = has_known_head(policy.model)
        self.policy = policy

    def forward(self, batch: Batch, *, hidden: bool = False) -> tuple[Tensor, ...]:
        """Log-probability and entropy `[N, T]` at each token of the batch's mask, float32; 0 elsewhere.

        With `hidden` also the states `[N, T, H]` from which the tokens are predicted; anything outside the mask.
        """
        policy = self.policy
        kept = batch.completion_mask.bool().to(policy.device)
        ids = batch.completion_ids.to(policy.device)[kept]
        with policy.autocast(), policy.recomputing():
            states = batch.hidden(policy) if self.splits_head or hidden else torch.zeros(())
            if self.splits_head:
                chosen, entropy = self._in_chunks(self._from_states, states[kept], ids)
            else:
                assert isinstance(batch, PaddedBatch), "only this form has logits of the model's own forward"
                chosen, entropy = self._in_chunks(self._from_logits, completion_logits(policy, batch)[kept], ids)
        empty = torch.zeros(kept.shape, device=policy.device)
        result = empty.masked_scatter(kept, chosen), empty.masked_scatter(kept, entropy)
        return (*result, states) if hidden else result

    def _in_chunks(
        self, function: Callable[..., tuple[Tensor, Tensor]], inputs: Float[Tensor, "M D"], ids: Int[Tensor, "M"]
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
        rows = max(CHUNK_TOKENS, CHUNK_LOGITS // len(self.allowed))
        parts = [
            checkpoint(function, part, chosen, use_reentrant=False, preserve_rng_state=False)
            for part, chosen in zip(torch.split(inputs, rows), torch.split(ids, rows), strict=True)
        ]
        logprobs, entropies = zip(*parts, strict=True)
        return torch.cat(logprobs), torch.cat(entropies)

    def _from_states(self, states: Float[Tensor, "m H"], ids: Int[Tensor, "m"]) -> tuple[Tensor, Tensor]:
        return self._from_logits(head_logits(self.model, states), ids)

    def _from_logits(self, logits: Float[Tensor, "m V"], ids: Int[Tensor, "m"]) -> tuple[Tensor, Tensor]:
        allowed = self.allowed.to(logits.device)
        if self.entropy_grad:
            log_probs = masked_log_softmax(logits, allowed, self.temperature)
            return log_probs.gather(-1, ids[:, None])[:, 0], token_entropy(log_probs)
        forbidden = torch.zeros(len(allowed), device=logits.device).masked_fill(~allowed, NEVER)
        logprobs, entropy = TokenLogprobs.apply(logits, ids, forbidden, self.temperature)  # type: ignore[no-untyped-call]
        return logprobs, entropy


def completion_logits(policy: Policy, batch: PaddedBatch) -> Float[Tensor, "N T V"]:
    """The model's own logits (soft-cap, scale and bias included) that predict each completion token."""
    width = batch.completion_ids.shape[1]
    keep = {"logits_to_keep": width + 1} if "logits_to_keep" in policy.forward_arguments else {}
    with policy.autocast(), policy.recomputing():
        logits: Tensor = policy.model(**batch.model_inputs(policy), **keep, use_cache=False).logits
    return logits[:, -width - 1 : -1]
