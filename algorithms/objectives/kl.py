"""Estimates of KL(policy || reference) from one sampled token, and which of them may be a loss.

With `d = log policy - log reference` of a token that the policy sampled. Source: J. Schulman, "Approximating KL
divergence" (2020). As losses: the gradient of k2 is that of the KL in expectation, that of k3 is nearly so, that of k1
is 0 in expectation, so that k1 belongs into the reward (arXiv 2506.09477).
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

Estimate = Callable[[Float[Tensor, "N T"], Float[Tensor, "N T"]], Float[Tensor, "N T"]]


def k1(logprobs_NT: Float[Tensor, "N T"], ref_logprobs_NT: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """`d` for each token: unbiased, of either sign."""
    return logprobs_NT - ref_logprobs_NT


def k2(logprobs_NT: Float[Tensor, "N T"], ref_logprobs_NT: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """`d^2 / 2` for each token: never negative."""
    return (logprobs_NT - ref_logprobs_NT).square() / 2


def k3(logprobs_NT: Float[Tensor, "N T"], ref_logprobs_NT: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """`exp(-d) - 1 + d` for each token: unbiased and never negative; GRPO's penalty (arXiv 2402.03300, eq. 4)."""
    difference = ref_logprobs_NT - logprobs_NT
    return difference.expm1() - difference  # `exp - 1` would round a small KL to 0


LOSSES: dict[str, Estimate] = {"k2": k2, "k3": k3}
