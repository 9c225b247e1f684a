"""The local engine: each prompt and image is encoded once, its cache serves the whole group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundrl.rewards import Completion, Example, Group
from groundrl.rollout.batches import next_position, pad_batch
from groundrl.rollout.engine import Sampling, keyed_uniforms
from groundrl.rollout.logprobs import masked_log_softmax
from groundrl.rollout.policy import Policy
from groundrl.rollout.prompts import Prompt

COMPACT_BELOW = 0.75  # finished rows leave the batch once this share or less is still being written


@dataclass
class Tokens:
    """What has been sampled for one completion so far."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class LocalEngine:
    """Samples with the policy's own model, at most `max_rows` completions at a time."""

    def __init__(self, policy: Policy, *, max_rows: int = 256) -> None:
        self.policy = policy
        self.max_rows = max_rows
        self.version = policy.version

    def sync(self, version: int) -> None:
        """Nothing to copy: the weights are the policy's own."""
        self.version = version

    def generate(
        self, examples: Sequence[Example], *, group_size: int, sampling: Sampling, seed_keys: Sequence[str]
    ) -> Iterator[Group]:
        """Yield the group of each example in order, several prompts to a batch."""
        per_batch = max(1, self.max_rows // group_size)
        for start in range(0, len(examples), per_batch):
            chunk = examples[start : start + per_batch]
            prompts = [self.policy.encode(example, reserve=sampling.max_new_tokens) for example in chunk]
            uniforms = np.stack(
                [
                    keyed_uniforms(key, completion, sampling.max_new_tokens)
                    for key in seed_keys[start : start + per_batch]
                    for completion in range(group_size)
                ]
            )
            rows = sample(self.policy, prompts, group_size=group_size, sampling=sampling, uniforms=uniforms)
            for place, example in enumerate(chunk):
                answers = rows[place * group_size : (place + 1) * group_size]
                yield Group(
                    example=example,
                    completions=tuple(self._completion(tokens, example) for tokens in answers),
                    index=start + place,
                    seed_key=seed_keys[start + place],
                )

    def _completion(self, tokens: Tokens, example: Example) -> Completion:
        return Completion(
            text=self.policy.decode(tokens.ids),
            token_ids=tuple(tokens.ids),
            sampled=(True,) * len(tokens.ids),
            logprobs=tuple(tokens.logprobs),
            finish_reason="stop" if tokens.ids[-1] in self.policy.end_ids else "length",
            policy_version=self.version,
            box_space=example.box_space,
        )


@torch.inference_mode()
def sample(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    group_size: int,
    sampling: Sampling,
    uniforms: Float[np.ndarray, "N T"],
) -> list[Tokens]:
    """`group_size` answers to each prompt, N = P*G rows in prompt order, each with its log-probs (float32).

    A token is drawn by inverting the cumulative distribution at its keyed uniform, so that the noise does not depend
    on how rows are batched.
    """
    device = policy.device
    policy.model.eval()
    cache, logits, mask, position = _prefill(policy, prompts, group_size)
    noise = torch.from_numpy(uniforms).to(device=device, dtype=_cumulative_dtype(device))
    allowed = policy.allowed.to(device)
    ends = torch.tensor(policy.end_ids, device=device)
    finished = [Tokens() for _ in range(len(prompts) * group_size)]
    rows = torch.arange(len(finished), device=device)  # the completion that each row of the batch is writing
    done = torch.zeros_like(rows, dtype=torch.bool)
    for token in range(sampling.max_new_tokens):
        log_probs = masked_log_softmax(logits, allowed, sampling.temperature or 1.0)
        chosen = _draw(log_probs, noise[rows, token]) if sampling.temperature > 0 else log_probs.argmax(dim=-1)
        _append(finished, rows, done, chosen, log_probs.gather(-1, chosen[:, None])[:, 0])
        done = done | torch.isin(chosen, ends)
        alive = (~done).nonzero()[:, 0]
        if len(alive) == 0 or token + 1 == sampling.max_new_tokens:
            break
        if len(alive) <= COMPACT_BELOW * len(rows):
            cache.reorder_cache(alive)
            rows, done, chosen, mask, position = rows[alive], done[alive], chosen[alive], mask[alive], position[alive]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        with policy.autocast():
            logits = policy.model(**_next_inputs(policy, chosen, mask, position, cache)).logits[:, -1]
        position = position + 1
    return finished


def _prefill(policy: Policy, prompts: Sequence[Prompt], group_size: int) -> tuple[Any, Tensor, Tensor, Tensor]:
    """Encode each prompt once and repeat its cache G times: cache, logits [N, V], mask [N, P], next position [N]."""
    batch = pad_batch(policy, prompts, [[] for _ in prompts])
    with policy.autocast():
        out = policy.model(**batch.model_inputs(policy), use_cache=True, **_last_logit(policy))
    cache = getattr(out, _cache_argument(policy), None)
    if cache is None:
        raise ValueError(
            f"{type(policy.model).__name__} cannot be sampled from: its forward returns neither past_key_values nor "
            "cache_params, which the completions of a group share; take another architecture"
        )
    rows = torch.arange(len(prompts), device=policy.device).repeat_interleave(group_size)
    cache.reorder_cache(rows)
    positions = torch.tensor([next_position(prompt) for prompt in prompts], device=policy.device)
    return cache, out.logits[rows, -1], batch.attention_mask.to(policy.device)[rows], positions[rows]


def _next_inputs(
    policy: Policy, chosen: Int[Tensor, "N"], mask: Int[Tensor, "N L"], position: Int[Tensor, "N"], cache: Any
) -> dict[str, Any]:
    name = _cache_argument(policy)
    inputs: dict[str, Any] = {"input_ids": chosen[:, None], "use_cache": True, name: cache}
    if name == "past_key_values":  # a recurrent state has left the padding behind, and its mask would be of one column
        inputs["attention_mask"] = mask
    if "position_ids" in policy.forward_arguments:
        axes = 3 if policy.has_mrope else 1
        inputs["position_ids"] = position[:, None].expand(axes, -1, 1) if axes > 1 else position[:, None]
    return inputs | _last_logit(policy)


def _cache_argument(policy: Policy) -> str:
    """What the model calls its cache: recurrent models (Mamba) have a name of their own."""
    return "cache_params" if "cache_params" in policy.forward_arguments else "past_key_values"


def _last_logit(policy: Policy) -> dict[str, Any]:
    return {"logits_to_keep": 1} if "logits_to_keep" in policy.forward_arguments else {}


def _draw(log_probs: Float[Tensor, "N V"], uniform: Float[Tensor, "N"]) -> Int[Tensor, "N"]:
    """The first token whose cumulative probability exceeds the uniform; a token of probability 0 never is."""
    cumulative = log_probs.exp().cumsum(dim=-1, dtype=uniform.dtype)
    target = (uniform * cumulative[:, -1])[:, None]
    chosen = torch.searchsorted(cumulative, target, right=True)[:, 0]
    last = (log_probs > -torch.inf).int().cumsum(dim=-1).argmax(dim=-1)  # where rounding runs past the end
    return torch.minimum(chosen, last)


def _append(
    finished: list[Tokens],
    rows: Int[Tensor, "N"],
    done: Tensor,
    chosen: Int[Tensor, "N"],
    logprobs: Float[Tensor, "N"],
) -> None:
    for row, over, token, logprob in zip(rows.tolist(), done.tolist(), chosen.tolist(), logprobs.tolist(), strict=True):
        if not over:
            finished[row].ids.append(token)
            finished[row].logprobs.append(logprob)


def _cumulative_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
