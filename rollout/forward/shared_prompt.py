"""The packed form of an update: one row a prompt, `[prompt, c1, ..., cG]`, in which completions do not see each other.

Each completion's positions go on from the prompt's, as if it stood alone after it. Attention grows with the square of
the row, so this form is for long prompts with short completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from groundrl.rollout.forward.batches import next_position, pad_completions, token_inputs
from groundrl.rollout.forward.images import Images
from groundrl.rollout.model.head import backbone
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt

PROMPT, PADDING = 0, -1  # segments; completions are 1, 2, ...


@dataclass(kw_only=True)
class PackedBatch:
    """P rows for N completions. `segments`: whose each column is. `source`: the column of the rows, read one after the
    other, whose state predicts a completion token. The last token of a completion predicts nothing and is left out."""

    input_ids: Int[Tensor, "P L"]
    position_ids: Int[Tensor, "axes P L"]
    image_tokens: Bool[Tensor, "P L"]
    segments: Int[Tensor, "P L"]
    source: Int[Tensor, "N T"]
    images: Images
    completion_ids: Int[Tensor, "N T"]
    completion_mask: Float[Tensor, "N T"]

    def hidden(self, policy: Policy) -> Float[Tensor, "N T H"]:
        """One forward over the rows."""
        segments = self.segments.to(policy.device)
        states: Tensor = backbone(policy.model)(
            **token_inputs(policy, self.input_ids, self.position_ids, self.image_tokens),
            **self.images.inputs(policy),
            attention_mask=segment_mask(segments, segments, policy.model.dtype),
            use_cache=False,
        ).last_hidden_state
        return states.flatten(0, 1)[self.source.to(policy.device)]


def pack_batch(
    policy: Policy,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    *,
    sampled: Sequence[Sequence[bool]] | None = None,
) -> PackedBatch:
    """A prompt for each completion; those of one prompt are the same object and share its row."""
    completion_ids, completion_mask = pad_completions(policy, completions, sampled)
    distinct = {id(prompt): prompt for prompt in prompts}
    rows = [
        [number for number, owner in enumerate(prompts) if id(owner) == key] for key in distinct
    ]  # the completions of each row
    lengths = [
        len(prompt) + sum(max(0, len(completions[n]) - 1) for n in row)
        for prompt, row in zip(distinct.values(), rows, strict=True)
    ]
    shape = (len(rows), max(lengths))
    input_ids = torch.full(shape, policy.pad_id, dtype=torch.long)
    position_ids = torch.zeros((len(prompts[0].position_ids), *shape), dtype=torch.long)
    image_tokens = torch.zeros(shape, dtype=torch.bool)
    segments = torch.full(shape, PADDING, dtype=torch.long)
    source = torch.zeros(completion_ids.shape, dtype=torch.long)
    for row, (prompt, numbers) in enumerate(zip(distinct.values(), rows, strict=True)):
        end = len(prompt)
        input_ids[row, :end] = prompt.ids
        position_ids[:, row, :end] = prompt.position_ids
        image_tokens[row, :end] = prompt.image_tokens
        segments[row, :end] = PROMPT
        for segment, number in enumerate(numbers, start=1):
            start, ids = end, completions[number]
            end += max(0, len(ids) - 1)
            input_ids[row, start:end] = completion_ids[number, : end - start]
            position_ids[:, row, start:end] = next_position(prompt) + torch.arange(end - start)
            segments[row, start:end] = segment
            source[number, 0] = row * shape[1] + len(prompt) - 1
            source[number, 1 : len(ids)] = row * shape[1] + torch.arange(start, end)
    return PackedBatch(
        input_ids=input_ids,
        position_ids=position_ids,
        image_tokens=image_tokens,
        segments=segments,
        source=source,
        images=Images.of(policy, list(distinct.values())),
        completion_ids=completion_ids,
        completion_mask=completion_mask,
    )


def segment_mask(
    queries: Int[Tensor, "rows q"], keys: Int[Tensor, "rows k"], dtype: torch.dtype
) -> Float[Tensor, "rows 1 q k"]:
    """Added to attention scores: 0 where a query sees a key, else -inf. The queries are the last of the keys.

    A token sees the prompt and its own segment up to itself; padding sees padding, so that no row is empty. Not a
    boolean mask: `eager` attention would add it as 0 and 1.
    """
    columns = torch.arange(keys.shape[1], device=keys.device)
    past = columns <= columns[-queries.shape[1] :, None]
    same = (keys[:, None] == PROMPT) | (keys[:, None] == queries[:, :, None])
    mask = torch.zeros(same.shape, dtype=dtype, device=keys.device)
    return mask.masked_fill_(~(past & same), -torch.inf)[:, None]
