"""What samples answers: the protocol, so that a server can stand beside the local engine, and its randomness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from groundrl.rewards import Example, Group
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.settings import Sampling


@runtime_checkable
class Engine(Protocol):
    """Unexpanded prompts and images in, groups of completions with their log-probs out.

    Configured by name: `engines.py`.
    """

    @property
    def failures(self) -> Mapping[int, str]:
        """Why an example of the last `generate` has no group, by its index there; read once all groups are."""
        ...

    @property
    def policy(self) -> Policy | None:
        """The policy in this process whose hidden states can be read; None where the engine holds none."""
        ...

    def generate(
        self, examples: Sequence[Example], *, group_size: int, sampling: Sampling, seed_keys: Sequence[str]
    ) -> Iterator[Group]:
        """G completions of each example, yielded group by group as they finish: `Group.index` tells which example.

        `seed_keys[i]` names the randomness of example i: the same key draws the same noise in any batch.
        """
        ...

    def sync(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Sample from now on from these weights of the policy, the names those of its state dict."""
        ...


def seed_key(*, seed: int, stream: str, stage: str, step: int, prompt: int) -> str:
    """The name of one prompt's randomness; the completion's index and the token's complete it."""
    return f"{seed}/{stream}/{stage}/{step}/{prompt}"


def keyed_uniforms(key: str, completion: int, count: int) -> Float[np.ndarray, "count"]:
    """`count` uniforms in [0, 1), one for each token, that depend on the key and the completion's index alone."""
    digest = hashlib.blake2b(f"{key}/{completion}".encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    return generator.random(count)
