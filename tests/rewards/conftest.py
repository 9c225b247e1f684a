"""An example with true boxes, and our own warnings as errors."""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from groundrl.rewards import Boxes, Example, GroundRLWarning, Reference, rel1000


@pytest.fixture(autouse=True)
def _our_warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GroundRLWarning)
        yield


@pytest.fixture
def example() -> Callable[..., Example]:
    """`example([[x1, y1, x2, y2], ...], label="...")`, boxes in rel1000 unless a space is given."""

    def make(boxes: list[list[float]] | None = None, *, space=rel1000, box_labels=None, **reference) -> Example:
        truth = None if boxes is None else Boxes(xyxy=np.array(boxes, dtype=float), space=space, labels=box_labels)
        return Example(id="e1", prompt="Find them.", reference=Reference(boxes=truth, **reference))

    return make
