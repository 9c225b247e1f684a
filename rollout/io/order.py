"""The order in which a stage visits its data, and several sources as one, drawn from by weight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np
from jaxtyping import Int

from groundrl.rewards import Example, ExampleSource

BLOCK = 1024  # draws whose shares are as exact as whole numbers allow


class Mixture:
    """The sources one behind the other; `visiting_order` draws from each in proportion to its weight.

    A weight is a share of draws, not of examples: a small source with a large weight is gone through more often.
    """

    def __init__(self, sources: Sequence[ExampleSource], weights: Sequence[float]) -> None:
        if len(sources) != len(weights) or not sources:
            raise ValueError(f"a mixture needs one weight a source, got {len(sources)} and {len(weights)}")
        if any(not (0 < weight < float("inf")) for weight in weights):
            raise ValueError(f"the weights of a mixture are above 0, got {', '.join(map(str, weights))}")
        self.sources = list(sources)
        self.weights = list(weights)
        self.ends = list(accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = bisect_right(self.ends, index)
        return self.sources[which][index - (self.ends[which] - len(self.sources[which]))]


class ShuffledOrder:
    """The endless order in which examples are visited: epoch after epoch, each its own permutation of the data.

    It is a pure function of the position, so a resumed run needs no state but how many examples it has seen.
    """

    def __init__(self, length: int, *, seed: int) -> None:
        self.length = length
        self.seed = seed
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def __getitem__(self, position: int) -> int:
        epoch, index = divmod(position, self.length)
        return int(self._epoch(epoch)[index])

    def _permutation(self, epoch: int) -> np.ndarray:
        rng = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        return rng.permutation(self.length)


class MixedOrder:
    """The endless order in which a mixture is visited: a pure function of the position, as `ShuffledOrder` is.

    Each source is gone through epoch after epoch in its own order. The draws of a block are stratified, so that every
    source has its share of each block to within two draws.
    """

    def __init__(self, mixture: Mixture, *, seed: int) -> None:
        lengths = [len(source) for source in mixture.sources]
        self.seed = seed
        self.edges = np.cumsum(mixture.weights)[:-1] / sum(mixture.weights)
        self.starts = [end - length for end, length in zip(mixture.ends, lengths, strict=True)]
        # another seed a source: two of the same length would else go the same way
        self.orders = [ShuffledOrder(length, seed=(seed + 7919 * k) % 2**63) for k, length in enumerate(lengths)]
        self._before: list[Int[np.ndarray, "sources"]] = [np.zeros(len(lengths), dtype=np.int64)]
        self._block = lru_cache(maxsize=2)(self._draws)

    def __getitem__(self, position: int) -> int:
        block, index = divmod(position, BLOCK)
        which, counts = self._block(block)
        while len(self._before) <= block:
            self._before.append(self._before[-1] + self._block(len(self._before) - 1)[1][-1])
        source = int(which[index])
        drawn = int(self._before[block][source] + counts[index, source]) - 1
        return self.starts[source] + self.orders[source][drawn]

    def _draws(self, block: int) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B sources"]]:
        """The source of each draw, and how many draws each source has had up to and with it."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, block]))
        shares = (rng.permutation(BLOCK) + rng.random(BLOCK)) / BLOCK
        which = np.searchsorted(self.edges, shares, side="right")
        counts = np.cumsum(which[:, None] == np.arange(len(self.starts)), axis=0)
        return which, counts


Order = ShuffledOrder | MixedOrder


def visiting_order(source: ExampleSource, *, seed: int) -> Order:
    """The order in which a stage visits this data; a resumed one needs only how many examples it has seen."""
    return MixedOrder(source, seed=seed) if isinstance(source, Mixture) else ShuffledOrder(len(source), seed=seed)
