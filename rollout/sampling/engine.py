"""What samples answers: the protocol, so that a server can stand beside the local engine, and its randomness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from groundrl.rewards import Example, Group
from groundrl.rollout.model.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How answers are drawn. `temperature` 0 is greedy; its log-probs are those of temperature 1.

    `top_k`, `top_p` and `min_p` cut off unlikely tokens; log-probs are then of what is left. An answer ends with the
    model's end tokens, with one of `stop_tokens`, or where its text holds one of the strings `stop` (which it keeps).
    """

    max_new_tokens: int = 128
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number of at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, or None for no limit, got {self.top_k}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if not 0.0 <= self.min_p <= 1.0:
            raise ValueError(f"min_p must be from 0 to 1, got {self.min_p}")
        if "" in self.stop:
            raise ValueError("a stop string must not be empty: every answer holds it")

    @property
    def truncates(self) -> bool:
        """Whether tokens that the policy could write are cut off, so that it is not the policy that is sampled."""
        return self.top_k is not None or self.top_p < 1.0 or self.min_p > 0.0


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
