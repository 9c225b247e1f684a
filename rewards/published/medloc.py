"""MedLoc's adaptive threshold (arXiv 2603.28120): a reward with a state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.geometry import match
from groundrl.rewards.boxes.spaces import Boxes
from groundrl.rewards.core.glossary import Score
from groundrl.rewards.library.grounding import BoxReward, same_kind


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MedLoc(BoxReward):
    """1 where `sum IoU / max(P, G)` is above a threshold that rises as the policy gets better, else 0.

    From `start` to `end`, by .15 up to .55, .10 up to .75, .05 beyond, whenever over the last `window` steps the mean
    reward is at least P, its standard deviation at most S and the mean IoU at least .10 above the threshold, with
    (P, S) = (.80, .20) below .6, (.75, .35) up to .75, (.55, .40) beyond; the window then begins anew. The paper does
    not say of what the window is made: here of steps, each with the mean over its completions.
    """

    name = "medloc"
    start: float = 0.3
    end: float = 0.8
    window: int = 30
    state: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        if not (0 <= self.start <= self.end < 1 and self.window >= 2):
            raise ValueError(f"needs 0 <= start <= end < 1 and a window of at least 2, got {self!r}")
        vars(self)["state"] = {"threshold": self.start, "steps": []}

    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """0 or 1, with the IoU and the threshold in `detail`."""
        found = match(worth, allowed=same_kind(predicted, true, labels=self.match_labels))
        iou = math.fsum(found.values.tolist()) / max(len(predicted), len(true))
        threshold = self.state["threshold"]
        return Score(value=float(iou > threshold), detail={"iou": iou, "threshold": threshold})

    def observe(self, scores: Sequence[Score]) -> None:
        """Add a step to the window, and raise the threshold when it is earned."""
        seen = [(s.value, float(str(s.detail.get("iou", s.value)))) for s in scores if s.value is not None]
        if not seen:
            return
        steps = [*self.state["steps"], np.mean(seen, axis=0).tolist()][-self.window :]
        self.state["steps"] = steps
        threshold = self.state["threshold"]
        if len(steps) == self.window and threshold < self.end and _earned(np.array(steps), threshold):
            raised = threshold + (0.15 if threshold < 0.55 else 0.10 if threshold < 0.75 else 0.05)
            self.state.update(threshold=round(min(raised, self.end), 6), steps=[])

    def state_dict(self) -> dict[str, Any]:
        """The threshold and the window: mean reward and mean IoU of each step."""
        return {"threshold": self.state["threshold"], "steps": [list(step) for step in self.state["steps"]]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with a saved threshold and window."""
        self.state.update(threshold=float(state["threshold"]), steps=[list(step) for step in state["steps"]])


def _earned(steps: Float[np.ndarray, "N 2"], threshold: float) -> bool:
    mean, spread = (0.80, 0.20) if threshold < 0.6 else (0.75, 0.35) if threshold <= 0.75 else (0.55, 0.40)
    rewards, ious = steps.T
    return bool(rewards.mean() >= mean and rewards.std(ddof=1) <= spread and ious.mean() - threshold >= 0.10)
