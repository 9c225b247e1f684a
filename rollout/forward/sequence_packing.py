"""Training samples one after the other in a row, with no attention between them: nothing is spent on padding.

What a sample's tokens see and where they stand is as in a row of its own, so log-probs and gradients are those of the
padded form.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from groundrl.rollout.forward.batches import next_position, pad_completions
from groundrl.rollout.forward.images import Images
from groundrl.rollout.forward.shared_prompt import PADDING, PackedBatch
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt


def join_batch(policy: Policy, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]]) -> PackedBatch:
    """One row of all samples, in order. The last token of an answer predicts nothing and is left out."""
    completion_ids, completion_mask = pad_completions(policy, answers, None)
    length = sum(joined_length(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True))
    input_ids = torch.full((1, length), policy.pad_id, dtype=torch.long)
    position_ids = torch.zeros((len(prompts[0].position_ids), 1, length), dtype=torch.long)
    image_tokens = torch.zeros((1, length), dtype=torch.bool)
    segments = torch.full((1, length), PADDING, dtype=torch.long)
    source = torch.zeros(completion_ids.shape, dtype=torch.long)
    start = 0
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        middle, end = start + len(prompt), start + joined_length(prompt, answer)
        input_ids[0, start:middle] = prompt.ids
        input_ids[0, middle:end] = completion_ids[number, : end - middle]
        position_ids[:, 0, start:middle] = prompt.position_ids
        position_ids[:, 0, middle:end] = next_position(prompt) + torch.arange(end - middle)
        image_tokens[0, start:middle] = prompt.image_tokens
        segments[0, start:end] = number + 1  # above PROMPT, which every segment sees
        source[number, : len(answer)] = torch.arange(middle - 1, end)
        start = end
    return PackedBatch(
        input_ids=input_ids,
        position_ids=position_ids,
        image_tokens=image_tokens,
        segments=segments,
        source=source,
        images=Images.of(policy, prompts),
        completion_ids=completion_ids,
        completion_mask=completion_mask,
    )


def joined_length(prompt: Prompt, answer: Sequence[int]) -> int:
    """Tokens that a sample takes in a row."""
    return len(prompt) + max(0, len(answer) - 1)


def fill_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Which samples share a row of at most `capacity` tokens: first fit, the longest first.

    A sample longer than that has a row of its own. Rows hold their samples in order.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for sample in sorted(range(len(lengths)), key=lambda sample: -lengths[sample]):
        index = next((k for k, left in enumerate(room) if left >= lengths[sample]), len(rows))
        if index == len(rows):
            rows.append([])
            room.append(capacity)
        rows[index].append(sample)
        room[index] -= lengths[sample]
    return [sorted(row) for row in rows]
