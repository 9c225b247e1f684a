"""Boxes as a gold answer writes them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from groundrl.rewards import Boxes, rel1000


def box_text(boxes: Boxes) -> str:
    """The boxes as a gold answer writes them: `[[010, 012, 080, 095], ...]`, in thousandths."""
    rows = ("[" + ", ".join(f"{value:03d}" for value in box) + "]" for box in thousandths(boxes).tolist())
    return "[" + ", ".join(rows) + "]"


def thousandths(boxes: Boxes) -> Int[np.ndarray, "N 4"]:
    """The boxes in rel1000 with three digits, so that each coordinate takes the same tokens.

    1000 itself becomes 999. A side that rounds to nothing becomes one thousandth long: a gold answer with a box of no
    area would not satisfy its own reward.
    """
    rounded = np.clip(np.rint(boxes.to(rel1000).xyxy), 0, 999).astype(np.int64)
    low = np.minimum(rounded[:, :2], 998)
    return np.concatenate([low, np.maximum(rounded[:, 2:], low + 1)], axis=1)
