"""What a batch of half-written answers carries from token to token: its cache, its mask, its positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundrl.rollout.forward.batches import next_position, pad_batch
from groundrl.rollout.forward.cache import GroupCache
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.private import is_recurrent
from groundrl.rollout.model.prompts import Prompt

PREFILL_TOKENS = 16_384  # read at once, padding included
PADDING = 0.15  # at most this share of a batch of prompts is padding


class State(Protocol):
    """The rows being written. `compact_at`: finished rows leave once this share or less is still being written."""

    compact_at: float

    def prefill(self) -> Float[Tensor, "N V"]:
        """Read each prompt once; the logits of each row's first token."""
        ...

    def step(self, chosen: Int[Tensor, "n"]) -> Float[Tensor, "n V"]:
        """Read each row's newest token; the logits of its next."""
        ...

    def keep(self, order: Int[Tensor, "k"]) -> None:
        """Go on with these rows in this order."""
        ...

    @property
    def bytes(self) -> int:
        """The size of the cache."""
        ...


class GroupState:
    """Plain attention: a preallocated cache, prompts of similar length read together."""

    compact_at = 1.0  # leaving costs one copy of the row that takes the place

    def __init__(self, policy: Policy, prompts: Sequence[Prompt], *, group_size: int, max_new_tokens: int) -> None:
        self.policy = policy
        self.prompts = prompts
        self.group_size = group_size
        width = max(len(prompt) for prompt in prompts)
        rows, device = len(prompts) * group_size, policy.device
        self.cache = GroupCache(
            layers=policy.model.config.get_text_config(decoder=True).num_hidden_layers,
            rows=rows,
            group_size=group_size,
            width=width,
            capacity=width + max_new_tokens - 1,  # the last token is never read
        )
        self.kept: dict[str, Any] = {str(policy.cache_name): self.cache}
        starts = torch.tensor([width - len(prompt) for prompt in prompts], device=device).repeat_interleave(group_size)
        padding = torch.arange(self.cache.capacity, device=device) < starts[:, None]
        self.mask = torch.zeros((rows, 1, 1, self.cache.capacity), dtype=policy.model.dtype, device=device)
        self.mask.masked_fill_(padding[:, None, None], -torch.inf)
        positions = torch.tensor([next_position(prompt) for prompt in prompts], device=device)
        self.position = positions.repeat_interleave(group_size)

    def prefill(self) -> Float[Tensor, "N V"]:
        """Batch after batch; each prompt's logits are repeated for its group."""
        logits = []
        for part in similar_lengths([len(prompt) for prompt in self.prompts]):
            self.cache.prefill(part)
            batch = pad_batch(self.policy, self.prompts[part], [[] for _ in self.prompts[part]])
            inputs = batch.model_inputs(self.policy)
            out = self.policy.model(**inputs, **self.kept, use_cache=True, **last_logit(self.policy))
            logits.append(out.logits[:, -1])
        self.cache.prefill(None)
        return torch.cat(logits).repeat_interleave(self.group_size, dim=0)

    def step(self, chosen: Int[Tensor, "n"]) -> Float[Tensor, "n V"]:
        """One column more."""
        mask = self.mask[: len(chosen), :, :, : self.cache.width + 1]
        inputs = next_inputs(self.policy, chosen, self.position[: len(chosen)])
        out = self.policy.model(**inputs, attention_mask=mask, **self.kept)
        self.cache.advance()
        self.position += 1
        logits: Tensor = out.logits[:, -1]
        return logits

    def keep(self, order: Int[Tensor, "k"]) -> None:
        """Only rows whose place changes are copied."""
        index = torch.arange(len(order), device=order.device)
        target = (order != index).nonzero()[:, 0]
        source = order[target]
        self.cache.move(target, source)
        self.mask[target] = self.mask[source]
        self.position[target] = self.position[source]

    @property
    def bytes(self) -> int:
        """What the cache has allocated."""
        return self.cache.bytes


class OwnState:
    """Any other architecture: the cache that the model makes, repeated for the group and grown token by token."""

    compact_at = 0.75  # leaving copies the whole cache

    def __init__(self, policy: Policy, prompts: Sequence[Prompt], *, group_size: int, max_new_tokens: int) -> None:
        self.policy = policy
        self.prompts = prompts
        self.rows = torch.arange(len(prompts), device=policy.device).repeat_interleave(group_size)
        self.position = torch.tensor([next_position(prompt) for prompt in prompts], device=policy.device)[self.rows]

    def prefill(self) -> Float[Tensor, "N V"]:
        """All prompts as one padded batch; the cache is then repeated G times."""
        batch = pad_batch(self.policy, self.prompts, [[] for _ in self.prompts])
        out = self.policy.model(**batch.model_inputs(self.policy), use_cache=True, **last_logit(self.policy))
        cache = getattr(out, str(self.policy.cache_name), None)
        if cache is None:
            raise ValueError(
                f"{type(self.policy.model).__name__} cannot be sampled from: its forward returns no cache, "
                "which the completions of a group share; take another architecture"
            )
        cache.reorder_cache(self.rows)
        self.cache = cache
        self.mask = batch.attention_mask.to(self.policy.device)[self.rows]
        logits: Tensor = out.logits[self.rows, -1]
        return logits

    def step(self, chosen: Int[Tensor, "n"]) -> Float[Tensor, "n V"]:
        """One column more."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(chosen), 1)], dim=1)
        inputs = {**next_inputs(self.policy, chosen, self.position), str(self.policy.cache_name): self.cache}
        if not is_recurrent(self.policy.model.config):  # its state has left the padding behind: no mask is needed
            inputs["attention_mask"] = self.mask
        self.position = self.position + 1
        logits: Tensor = self.policy.model(**inputs).logits[:, -1]
        return logits

    def keep(self, order: Int[Tensor, "k"]) -> None:
        """The whole cache is copied."""
        self.cache.reorder_cache(order)
        self.mask, self.position = self.mask[order], self.position[order]

    @property
    def bytes(self) -> int:
        """Not known: what a model carries is its own affair."""
        return 0


def similar_lengths(lengths: Sequence[int]) -> list[slice]:
    """Consecutive prompts to read together: within PREFILL_TOKENS, and little of a batch is padding.

    A single prompt is a batch of its own however long it is.
    """
    parts: list[slice] = []
    start = tokens = longest = 0
    for index, length in enumerate(lengths):
        padded = max(longest, length) * (index + 1 - start)
        if index > start and (padded > PREFILL_TOKENS or padded - tokens - length > PADDING * padded):
            parts.append(slice(start, index))
            start, tokens, longest = index, 0, 0
        tokens, longest = tokens + length, max(longest, length)
    return [*parts, slice(start, len(lengths))]


def next_inputs(policy: Policy, chosen: Int[Tensor, "n"], position: Int[Tensor, "n"]) -> dict[str, Any]:
    """The newest token of each row at its position."""
    inputs: dict[str, Any] = {"input_ids": chosen[:, None], "use_cache": True}
    if "position_ids" in policy.forward_arguments:
        inputs["position_ids"] = position[:, None].expand(3, -1, 1) if policy.has_mrope else position[:, None]
    return inputs | last_logit(policy)


def last_logit(policy: Policy) -> dict[str, Any]:
    """Asks the model for the last position's logits only, where it can be asked."""
    return {"logits_to_keep": 1} if "logits_to_keep" in policy.forward_arguments else {}
