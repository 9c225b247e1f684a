"""What one forward of each form of an update costs, in operations, so that the cheapest can be chosen.

The backward costs about twice the forward in every form and the images once a prompt: both are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundrl.rollout.model.head import bare
from groundrl.rollout.model.policy import Policy

# In operations that a large matrix product would have done in the same time.
ATTENTION = 1.5  # an operation of attention
COPIED = 50.0  # a number that is copied, with its gradient
CALL = {"cpu": 1e7, "cuda": 5e9}  # a layer that is called, however little it has to do

Lengths = Sequence[tuple[int, Sequence[int]]]  # of each prompt, and of its completions


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Operations a `token` in all layers, a `pair` of query and key, a `column` of keys repeated, and a `call`."""

    token: float
    pair: float
    column: float
    call: float

    @classmethod
    def of(cls, policy: Policy) -> Costs:
        """From the model's shape."""
        model = bare(policy.model)
        text = model.config.get_text_config(decoder=True)
        embedding = model.get_input_embeddings()
        weights = sum(p.numel() for p in model.get_decoder().parameters()) - sum(
            p.numel() for p in embedding.parameters()
        )
        layers, heads = text.num_hidden_layers, text.num_attention_heads
        width = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
        return cls(
            token=2.0 * weights,
            pair=ATTENTION * 4.0 * layers * width,
            column=COPIED * 2.0 * layers * width,
            call=CALL.get(policy.device.type, CALL["cuda"]) * layers,
        )

    def padded(self, groups: Lengths) -> float:
        """Every completion with its own prompt; equal lengths need no mask, which saves half of the pairs."""
        rows = sum(len(completions) for _, completions in groups)
        prompt, completion = _longest(groups)
        shortest = min(length + min(completions) for length, completions in groups)
        length = prompt + completion
        pairs = rows * length**2 / (2 if shortest == length else 1)
        return self.call + self.token * rows * length + self.pair * pairs

    def packed(self, groups: Lengths) -> float:
        """A row a prompt."""
        length = max(prompt + sum(completions) - len(completions) for prompt, completions in groups)
        return self.call + len(groups) * (self.token * length + self.pair * length**2)

    def prefix(self, groups: Lengths) -> float:
        """A row a completion: the prompt's keys and values are copied for each."""
        prompt, completion = _longest(groups)
        rows = sum(len(completions) for _, completions in groups)
        columns = rows * (prompt + completion - 1)
        own = self.token * rows * (completion - 1) + self.pair * columns * (completion - 1) + self.column * columns
        return self._prompts(groups) + self.call + own

    def prefix_joined(self, groups: Lengths) -> float:
        """A row a prompt after its cache."""
        prompt, _ = _longest(groups)
        width = max(sum(completions) - len(completions) for _, completions in groups)
        columns = len(groups) * (prompt + width)
        own = self.token * len(groups) * width + self.pair * columns * width + self.column * columns
        return self._prompts(groups) + self.call + own

    def _prompts(self, groups: Lengths) -> float:
        lengths = [prompt for prompt, _ in groups]
        tokens = len(groups) * max(lengths)
        pairs = tokens * max(lengths) / (2 if min(lengths) == max(lengths) else 1)
        return self.call + self.token * tokens + self.pair * pairs


def _longest(groups: Lengths) -> tuple[int, int]:
    return max(prompt for prompt, _ in groups), max(max(completions) for _, completions in groups)
