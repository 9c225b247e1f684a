"""The reference policy: the policy as it was before the stage, which a KL penalty keeps it close to."""

from __future__ import annotations

import copy

from jaxtyping import Float
from torch import Tensor

from groundrl.algorithms.collect import Logprobs
from groundrl.rollout.forward.batch import Batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.storage import store_frozen_in_bfloat16


def make_reference(policy: Policy, *, temperature: float) -> Logprobs:
    """Its log-probs: those of the policy's own model with the adapter switched off, else of a frozen copy.

    Call it before the policy's first update; no gradient may be asked of it.
    """
    if policy.adapters.active is None:
        frozen = copy.copy(policy)
        frozen.model = copy.deepcopy(policy.model).eval().requires_grad_(False)
        store_frozen_in_bfloat16(frozen, exported=False)
        return CompletionLogprobs(frozen, temperature=temperature)
    module = CompletionLogprobs(policy, temperature=temperature)

    def without_adapter(batch: Batch) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        with policy.adapters.only(None):
            logprobs_NT, entropy_NT = module(batch)
        return logprobs_NT, entropy_NT

    return without_adapter
