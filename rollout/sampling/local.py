"""The local engine: each prompt and image is read once, its cache serves the whole group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from groundrl.rewards import Completion, Example, Group
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.decoding import Answer, Decoding
from groundrl.rollout.sampling.engine import keyed_uniforms
from groundrl.rollout.settings import Sampling


class LocalEngine:
    """Samples with the policy's own model, at most `max_rows` completions at a time.

    `cache_bytes` is the size of the largest key-value cache of the last `generate` (0 where the model makes its own).
    """

    def __init__(self, policy: Policy, *, max_rows: int = 256) -> None:
        self.policy = policy
        self.max_rows = max_rows
        self.failures: Mapping[int, str] = {}  # an example that cannot be answered is an error
        self.version = policy.version
        self.cache_bytes = 0

    def sync(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Nothing to copy: the weights are the policy's own."""
        self.version = version

    def generate(
        self, examples: Sequence[Example], *, group_size: int, sampling: Sampling, seed_keys: Sequence[str]
    ) -> Iterator[Group]:
        """Yield the group of each example as it finishes, several prompts of similar length to a batch."""
        self.cache_bytes = 0
        prompts = [self.policy.encode(example, reserve=sampling.max_new_tokens) for example in examples]
        order = sorted(range(len(examples)), key=lambda index: (len(prompts[index]), index))
        per_batch = max(1, self.max_rows // group_size)
        for start in range(0, len(order), per_batch):
            batch = order[start : start + per_batch]
            decoding = Decoding(
                self.policy,
                [prompts[index] for index in batch],
                group_size=group_size,
                sampling=sampling,
                uniforms=np.stack(
                    [
                        keyed_uniforms(seed_keys[index], completion, sampling.max_new_tokens)
                        for index in batch
                        for completion in range(group_size)
                    ]
                ),
            )
            for in_batch, answers in decoding:
                index = batch[in_batch]
                yield Group(
                    example=examples[index],
                    completions=tuple(self._completion(answer, examples[index]) for answer in answers),
                    index=index,
                    seed_key=seed_keys[index],
                )
            self.cache_bytes = max(self.cache_bytes, decoding.cache_bytes)

    def _completion(self, answer: Answer, example: Example) -> Completion:
        return Completion(
            text=self.policy.decode(answer.ids),
            token_ids=answer.ids,
            sampled=(True,) * len(answer.ids),
            logprobs=answer.logprobs,
            finish_reason="stop" if answer.stopped else "length",
            policy_version=self.version,
            box_space=example.box_space,
        )
