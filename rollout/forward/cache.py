"""The key-value cache of sampling: allocated once, the prompt's part written once, rows leave it in place."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.private import attention_name, is_recurrent, other_layers


def attention_obstacle(policy: Policy) -> str | None:
    """Why not every layer attends to all tokens before it through sdpa, or None where it does.

    Not so for recurrent, convolutional and hybrid layers, sliding windows, and attention kernels that read a mask
    their own way.
    """
    config = policy.model.config
    attention = attention_name(config)
    if attention is None:
        return "it is not a model of transformers"
    if policy.cache_name is None or is_recurrent(config):
        return "its layers keep no keys and values"
    if attention != "sdpa":
        return f"its attention is {attention}, not sdpa"
    other = other_layers(config)
    if other is not None:
        return f"not all of its layers attend to all tokens before them ({', '.join(other) or 'they share caches'})"
    return None


class GroupCache(Cache):
    """Keys and values of N = P*G rows with room for `capacity` tokens each.

    While prompts are read (`prefill`), each writes its keys and values to the G rows of its group, at the columns just
    before `width`, so that all rows go on at one column. Then every forward adds one column.
    """

    def __init__(self, *, layers: int, rows: int, group_size: int, width: int, capacity: int) -> None:
        assert width <= capacity
        self.rows = rows
        self.group_size = group_size
        self.capacity = capacity
        self.width = width  # columns in use, padding before short prompts included
        self.reading: slice | None = None  # the prompts whose forward is running
        self.groups = [GroupLayer(self) for _ in range(layers)]
        super().__init__(layers=list(self.groups))

    def prefill(self, prompts: slice | None) -> None:
        """The next forward reads these prompts; None: from now on tokens are written."""
        self.reading = prompts

    def advance(self) -> None:
        """A forward has written its column."""
        self.width += 1

    def move(self, target: Int[Tensor, "k"], source: Int[Tensor, "k"]) -> None:
        """Rows at `source` take the places `target`, whose own rows have finished."""
        for layer in self.groups:
            for tensor in layer.buffers:
                tensor[target, :, : self.width] = tensor[source, :, : self.width]

    @property
    def bytes(self) -> int:
        """What has been allocated."""
        return sum(tensor.numel() * tensor.element_size() for layer in self.groups for tensor in layer.buffers)


class GroupLayer(CacheLayerMixin):
    """One layer's keys and values, each `[N, heads, capacity, head size]`."""

    is_sliding = False

    def __init__(self, cache: GroupCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers has left it without annotations
        self.cache = cache

    @property
    def buffers(self) -> tuple[Tensor, ...]:
        """Keys and values; nothing before the first forward."""
        return () if self.keys is None or self.values is None else (self.keys, self.values)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate, in the precision in which attention will read."""
        self.keys, self.values = self._buffer(key_states), self._buffer(value_states)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write what is new and return all that the running forward attends to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache, length = self.cache, key_states.shape[2]
        keys, values = self.buffers
        if cache.reading is not None:
            for buffer, states in ((keys, key_states), (values, value_states)):
                groups = buffer.view(-1, cache.group_size, *buffer.shape[1:])
                groups[cache.reading, :, :, : cache.width - length] = 0.0  # never attended to, but it must be a number
                groups[cache.reading, :, :, cache.width - length : cache.width] = states[:, None]
            return key_states, value_states
        rows, end = len(key_states), cache.width + length
        keys[:rows, :, cache.width : end] = key_states
        values[:rows, :, cache.width : end] = value_states
        return keys[:rows, :, :end], values[:rows, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that a query sees, and the first of them."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns written before the running forward; none while prompts are read."""
        return 0 if self.cache.reading is not None else self.cache.width

    def get_max_length(self) -> int:
        """The columns that there are."""
        return self.cache.capacity

    def _buffer(self, states: Tensor) -> Tensor:
        device = states.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
        _, heads, _, size = states.shape
        return states.new_empty((self.cache.rows, heads, self.cache.capacity, size), dtype=dtype)
