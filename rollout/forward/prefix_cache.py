"""The prefix form of an update: prompts are read once into a cache that carries gradients, completions continue it.

Completions of a prompt stand `per_row` to a row: one to a row repeats the prompt's keys and values for each, all in one
row repeats nothing but compares completions with each other in vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from groundrl.rollout.forward.batches import PaddedBatch, next_position, pad_batch, pad_completions, token_inputs
from groundrl.rollout.forward.shared_prompt import PADDING, PROMPT, segment_mask
from groundrl.rollout.model.head import backbone
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt


@dataclass(kw_only=True)
class PrefixBatch:
    """P prompts and R rows that continue them, R/P for each. `segments`: which completion of its row a column is.

    `source`: the state that predicts a completion token, among the P last states of the prompts and then those of the
    rows, one after the other. The last token of a completion predicts nothing and is left out.
    """

    prompts: PaddedBatch
    input_ids: Int[Tensor, "R W"]
    position_ids: Int[Tensor, "axes R W"]
    segments: Int[Tensor, "R W"]
    source: Int[Tensor, "N T"]
    completion_ids: Int[Tensor, "N T"]
    completion_mask: Float[Tensor, "N T"]

    def hidden(self, policy: Policy) -> Float[Tensor, "N T H"]:
        """Two forwards: over the prompts, and over the rows."""
        model, device = backbone(policy.model), policy.device
        layers = policy.model.config.get_text_config(decoder=True).num_hidden_layers
        repeats = len(self.input_ids) // len(self.prompts.input_ids)
        kept: dict[str, Any] = {str(policy.cache_name): PrefixCache(layers=layers, repeats=repeats)}
        out = model(**self.prompts.model_inputs(policy), **kept, use_cache=True)
        states = [out.last_hidden_state[:, -1]]
        if self.input_ids.shape[1]:
            rows = self.segments.to(device)
            seen = self.prompts.attention_mask.to(device).repeat_interleave(repeats, dim=0)
            prompts = torch.where(seen == 1, PROMPT, -2)  # padding of a prompt is nobody's, not even for padding
            out = model(
                **token_inputs(policy, self.input_ids, self.position_ids, self._no_image()),
                attention_mask=segment_mask(rows, torch.cat([prompts, rows], dim=1), policy.model.dtype),
                **kept,
                use_cache=True,
            )
            states.append(out.last_hidden_state.flatten(0, 1))
        return torch.cat(states)[self.source.to(device)]

    def _no_image(self) -> Bool[Tensor, "R W"]:
        return torch.zeros(self.input_ids.shape, dtype=torch.bool)


def prefix_batch(
    policy: Policy,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    *,
    sampled: Sequence[Sequence[bool]] | None = None,
    per_row: int = 1,
) -> PrefixBatch:
    """A prompt for each completion, prompt by prompt, equally many of each: those of one are the same object."""
    completion_ids, completion_mask = pad_completions(policy, completions, sampled)
    distinct = list({id(prompt): prompt for prompt in prompts}.values())
    count = len(prompts) // len(distinct)
    assert all(prompt is distinct[number // count] for number, prompt in enumerate(prompts))
    rows = [
        range(start, min(start + per_row, first + count))
        for first in range(0, len(prompts), count)
        for start in range(first, first + count, per_row)
    ]
    lengths = [max(0, len(ids) - 1) for ids in completions]
    shape = (len(rows), max(sum(lengths[number] for number in row) for row in rows))
    input_ids = torch.full(shape, policy.pad_id, dtype=torch.long)
    position_ids = torch.zeros((len(prompts[0].position_ids), *shape), dtype=torch.long)
    segments = torch.full(shape, PADDING, dtype=torch.long)
    source = torch.zeros(completion_ids.shape, dtype=torch.long)
    for row, numbers in enumerate(rows):
        end = 0
        for segment, number in enumerate(numbers, start=1):
            start, end = end, end + lengths[number]
            input_ids[row, start:end] = completion_ids[number, : lengths[number]]
            position_ids[:, row, start:end] = next_position(prompts[number]) + torch.arange(end - start)
            segments[row, start:end] = segment
            source[number, 0] = number // count
            source[number, 1 : lengths[number] + 1] = len(distinct) + row * shape[1] + torch.arange(start, end)
    return PrefixBatch(
        prompts=pad_batch(policy, distinct, [[] for _ in distinct]),
        input_ids=input_ids,
        position_ids=position_ids,
        segments=segments,
        source=source,
        completion_ids=completion_ids,
        completion_mask=completion_mask,
    )


class PrefixCache(Cache):
    """Keys and values of P prompts, with their gradients; `repeats` rows continue each and see it before their own."""

    def __init__(self, *, layers: int, repeats: int) -> None:
        super().__init__(layers=[PrefixLayer(repeats) for _ in range(layers)])


class PrefixLayer(CacheLayerMixin):
    """One layer's; nothing but the prompts is kept."""

    is_sliding = False

    def __init__(self, repeats: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers has left it without annotations
        self.repeats = repeats

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """The prompts' forward is the first."""
        self.keys, self.values = key_states, value_states
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """What the running forward attends to."""
        if self.keys is None or self.values is None:
            self.lazy_initialization(key_states, value_states)
            return key_states, value_states
        return self._continued(self.keys, key_states), self._continued(self.values, value_states)

    def _continued(self, prompts: Float[Tensor, "P h p d"], rows: Float[Tensor, "R h w d"]) -> Tensor:
        """One copy: the repeats are not made before they are joined."""
        repeated = prompts[:, None].expand(-1, self.repeats, -1, -1, -1)
        return torch.cat([repeated, rows.view(-1, self.repeats, *rows.shape[1:])], dim=3).flatten(0, 1)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that a query sees, and the first of them."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns of the prompts; none while they are read."""
        return 0 if self.keys is None else self.keys.shape[2]

    def get_max_length(self) -> int:
        """There is no limit."""
        return -1
