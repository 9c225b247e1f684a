"""MedMO's box reward (arXiv 2602.06965)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.geometry import assign, giou_matrix
from groundrl.rewards.boxes.spaces import Boxes
from groundrl.rewards.core.glossary import Score
from groundrl.rewards.library.grounding import BoxReward, same_kind


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MedMOBox(BoxReward):
    """MedMO's box reward in [0, 1].

    With L1 = sum |coord_p - coord_g| / (2 sqrt(H^2 + W^2)), Hungarian pairs M on 5 L1 + 2 (1 - GIoU) are each worth
    `s = (5 (1 - clip01(L1)) + (GIoU + 1)) / 7`, and the reward is
    `clip01((sum_M s - miss_penalty (G - |M|) - false_penalty (P - |M|)) / G)`. A degenerate box is in no pair. The
    paper leaves the penalties open; with both 0 it pays for enumeration.
    """

    name = "medmo_box"
    miss_penalty: float = 0.1
    false_penalty: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.miss_penalty < math.inf and 0 <= self.false_penalty < math.inf):
            raise ValueError(f"penalties are at least 0, got {self.miss_penalty} and {self.false_penalty}")

    def worth(self, predicted: Float[np.ndarray, "*#B P 4"], true: Float[np.ndarray, "*#B G 4"]) -> np.ndarray:
        """GIoU of each pair."""
        return giou_matrix(predicted, true)

    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """The formula; `detail["pairs"]` holds `(predicted, true, s)`."""
        diagonal = math.hypot(true.space.width, true.space.height)
        l1 = np.abs(predicted.xyxy.clip(-1e9, 1e9)[:, None] - true.xyxy.clip(-1e9, 1e9)[None]).sum(axis=-1) / (
            2.0 * diagonal
        )
        kind = same_kind(predicted, true, labels=self.match_labels)
        legal = worth > -1.0 if kind is None else (worth > -1.0) & kind
        rows, columns = assign(np.where(legal, 2.0 * worth - 5.0 * np.minimum(l1, 1e6), -1e9))
        kept = legal[rows, columns]
        rows, columns = rows[kept], columns[kept]
        s = ((5.0 * (1.0 - l1.clip(0.0, 1.0)) + worth + 1.0) / 7.0)[rows, columns]
        penalty = self.miss_penalty * (len(true) - len(s)) + self.false_penalty * (len(predicted) - len(s))
        value = (math.fsum(s.tolist()) - penalty) / len(true)
        pairs = tuple(zip(rows.tolist(), columns.tolist(), s.tolist(), strict=True))
        return Score(value=min(max(value, 0.0), 1.0), detail={"pairs": pairs})
