"""What a stage trains on: one source, or a mixture of several by weight."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from groundrl.experiments.data.sources import load_source
from groundrl.rewards import ExampleSource
from groundrl.rollout.io.order import Mixture

if TYPE_CHECKING:
    from groundrl.experiments.config.stage import Training


def load_training(spec: Training, *, seed: int, base: Path) -> ExampleSource:
    """`spec`: what `load_source` takes, or a tuple of parts with weights. ValueError for a part without examples."""
    if not isinstance(spec, tuple):
        return load_source(spec, seed=seed, base=base)
    sources = [load_source(part.data, seed=seed, base=base) for part in spec]
    for part, source in zip(spec, sources, strict=True):
        if len(source) == 0:
            raise ValueError(f"a part of the mixture has no examples: {part.data}")
    return Mixture(sources, [part.weight for part in spec])
