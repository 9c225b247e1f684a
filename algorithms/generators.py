"""The shared random generators of this process, as plain values that JSON and `weights_only` loading can hold."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def generator_state() -> dict[str, Any]:
    """Where Python's, numpy's and torch's generators stand, those of this process's CUDA devices included.

    Sampling and shuffling are keyed and need none of it; dropout, a reward or a data source may draw from them.
    """
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    assert isinstance(keys, np.ndarray)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, keys.tolist(), *rest],
        "torch": _written(torch.get_rng_state()),
        "cuda": [_written(state) for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
    }


def set_generator_state(state: Mapping[str, Any]) -> None:
    """Put the generators back to a `generator_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(_read(state["torch"]))
    for device, written in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(_read(written), device)


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Gives the shared generators back as they were."""
    state = generator_state()
    try:
        yield
    finally:
        set_generator_state(state)


def _written(state: torch.Tensor) -> str:
    return state.numpy().tobytes().hex()


def _read(written: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(written), dtype=torch.uint8)
