"""What samples answers: the protocol, so that a server can stand beside the local engine, and its randomness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from groundrl.rewards import Example, Group


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How answers are drawn. `temperature` 0 is greedy; its log-probs are those of temperature 1."""

    max_new_tokens: int = 128
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number of at least 0, got {self.temperature}")


@runtime_checkable
class Engine(Protocol):
    """Unexpanded prompts and images in, groups of completions with their log-probs out."""

    def generate(
        self, examples: Sequence[Example], *, group_size: int, sampling: Sampling, seed_keys: Sequence[str]
    ) -> Iterator[Group]:
        """G completions of each example, yielded group by group as they finish; `Group.index` tells which example.

        `seed_keys[i]` names the randomness of example i: the same key draws the same noise in any batch.
        """
        ...

    def sync(self, version: int) -> None:
        """Sample from now on from the policy's weights of this version."""
        ...


def seed_key(*, seed: int, stream: str, stage: str, step: int, prompt: int) -> str:
    """The name of one prompt's randomness; the completion's index and the token's complete it."""
    return f"{seed}/{stream}/{stage}/{step}/{prompt}"


def keyed_uniforms(key: str, completion: int, count: int) -> Float[np.ndarray, "count"]:
    """`count` uniforms in [0, 1), one for each token, that depend on the key and the completion's index alone."""
    digest = hashlib.blake2b(f"{key}/{completion}".encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    return generator.random(count)
