"""From logits to a token: what is forbidden or cut off, and the draw by keyed noise."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundrl.rollout.settings import Sampling


def processed_scores(
    logits: Float[Tensor, "N V"], forbidden: Float[Tensor, "V"], sampling: Sampling
) -> Float[Tensor, "N V"]:
    """`logits / temperature` in float32 with -inf where nothing may be drawn; its softmax is what is drawn from.

    `forbidden` is -inf at ids that may never be sampled, else 0. Then, in the order of transformers' `generate`, there
    fall away all but the `top_k` likeliest tokens, all past the smallest set that holds `top_p` of the probability, and
    all below `min_p` times the largest probability; the likeliest token stays.
    """
    scores = logits.float()
    if sampling.temperature not in (0.0, 1.0):
        scores = scores / sampling.temperature
    scores = scores + forbidden
    if sampling.top_k is not None and sampling.top_k < scores.shape[-1]:
        scores = scores.masked_fill(scores < scores.topk(sampling.top_k).values[:, -1:], -torch.inf)
    if sampling.top_p < 1.0:
        ordered, order = scores.sort(dim=-1, descending=True, stable=True)
        probabilities = ordered.softmax(dim=-1)
        beyond = probabilities.cumsum(dim=-1) - probabilities >= sampling.top_p  # what stands before it is enough
        beyond[:, 0] = False
        scores = scores.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)
    if sampling.min_p > 0.0:
        scores = scores.masked_fill(scores < scores.amax(dim=-1, keepdim=True) + math.log(sampling.min_p), -torch.inf)
    return scores


def draw(
    scores: Float[Tensor, "N V"], uniforms: Float[Tensor, "N"] | None
) -> tuple[Int[Tensor, "N"], Float[Tensor, "N"]]:
    """A token of each row and its log-probability under `softmax(scores)`; without noise the likeliest token.

    The cumulative distribution is inverted at the uniform, so that the noise does not depend on how rows are batched:
    the first token whose cumulative probability exceeds it. A token of probability 0 never does.
    """
    largest, best = scores.max(dim=-1, keepdim=True)
    cumulative = (scores - largest).exp_().cumsum(dim=-1, dtype=cumulative_dtype(scores.device))
    total = cumulative[:, -1:]
    if uniforms is None:
        chosen = best
    else:
        # Below the total even where rounding would reach it: the token found there is the last of positive probability.
        target = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
        chosen = torch.searchsorted(cumulative, target, right=True)
    logprobs = scores.gather(-1, chosen) - largest - total.log().float()
    return chosen[:, 0], logprobs[:, 0]


def cumulative_dtype(device: torch.device) -> torch.dtype:
    """In what probabilities are summed and noise is held; mps has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
