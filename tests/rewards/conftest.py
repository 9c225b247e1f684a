"""An example with true boxes."""

from collections.abc import Callable

import numpy as np
import pytest

from groundrl.rewards import Boxes, Example, Reference, rel1000


@pytest.fixture(scope="session")
def example() -> Callable[..., Example]:
    """`example([[x1, y1, x2, y2], ...], label="...")`, boxes in rel1000 unless a space is given."""

    def make(boxes: list[list[float]] | None = None, *, space=rel1000, box_labels=None, **reference) -> Example:
        truth = (
            None
            if boxes is None
            else Boxes(xyxy=np.array(boxes, dtype=float).reshape(-1, 4), space=space, labels=box_labels)
        )
        return Example(id="e1", prompt="Find them.", reference=Reference(boxes=truth, **reference))

    return make
