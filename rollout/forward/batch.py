"""What a model is given, in any form. An objective knows this much of it, and needs no model to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from groundrl.rollout.model.policy import Policy  # loads transformers and peft


@runtime_checkable
class Batch(Protocol):
    """N completions of at most T tokens with their prompts, in whatever form the model reads them.

    `completion_mask` is 1 where a completion token exists and was sampled by the policy, so that it is learned from.
    """

    completion_ids: Int[Tensor, "N T"]
    completion_mask: Float[Tensor, "N T"]

    def hidden(self, policy: Policy) -> Float[Tensor, "N T H"]:
        """The model's last hidden state from which each completion token is predicted; anything outside the mask."""
        ...
