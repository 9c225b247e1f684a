"""Published rewards as their authors wrote them, defects included: the baselines of the literature.

Use them through `presets.<name>(as_published=True)`; each docstring names the defect that the default mends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from groundrl.rewards.boxes.geometry import iou_matrix
from groundrl.rewards.boxes.spaces import Boxes
from groundrl.rewards.core.compose import Composed
from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward
from groundrl.rewards.library.average_precision import MeanAP, average_precision
from groundrl.rewards.library.grounding import BoxReward, PairReward

_INTS = re.compile(r"\[([0-9]{1,9}+),\s*+([0-9]{1,9}+),\s*+([0-9]{1,9}+),\s*+([0-9]{1,9}+)\]")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FirstBoxIoU(Reward):
    """VLM-R1, REC: IoU of the first `[a, b, c, d]` of integers, in [0, 1].

    Defects: the intersection ends at `x2 - 1`, so identical boxes in [0, 1] score 0; only integers are read; the box
    is searched for, so anything may stand around it, further boxes included. (Without `<answer>` tags, which the
    published code demands, the whole text is searched here.)
    """

    name = "first_box_iou"

    def score(self, completion: Completion, example: Example) -> Score:
        """Abstains without true boxes; only the first of them counts."""
        truth = example.reference.boxes
        if truth is None or not len(truth):
            return Score(value=None, status="abstain", detail={"reason": "the reference has no box"})
        start = completion.text.find("<answer>")
        found = _INTS.search(completion.text, max(start, 0))
        if found is None:
            return Score(value=0.0, detail={"reason": "no box of integers"})
        a, b = [float(number) for number in found.groups()], truth.to(completion.box_space).xyxy[0].tolist()
        left, top = max(a[0], b[0]), max(a[1], b[1])
        right, bottom = min(a[2] - 1, b[2] - 1), min(a[3] - 1, b[3] - 1)
        inside = (right - left + 1) * (bottom - top + 1) if left < right and top < bottom else 0.0
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside
        # An inverted box can make the union negative or 0; the published code then divides by it and gives 0.
        return Score(value=min(inside / union, 1.0) if union > 0 else 0.0, detail={"box": tuple(a)})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ListedMeanAP(MeanAP):
    """VLM-R1, OD: COCO mAP with all scores equal, times `min(1, G/P)` where `od_length`; in [0, 1].

    Defects: boxes enter the curve in the order of the list, so false ones listed after the true ones cost nothing
    without `od_length`; with `match_labels` a label outside the truth is dropped free of charge.
    """

    name = "listed_mean_ap"
    od_length: bool = True

    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """The mean over true labels and thresholds."""
        labels = [("",) * len(side) for side in (predicted, true)]
        if self.match_labels:
            labels = [tuple(side.labels or ("",) * len(side)) for side in (predicted, true)]
        values = []
        for label in sorted(set(labels[1])):
            rows, columns = ([k for k, kind in enumerate(side) if kind == label] for side in labels)
            own, order = worth[np.ix_(rows, columns)], -np.arange(len(rows), dtype=np.float64)
            values += [average_precision(np.where(own >= t, own, 0.0), order, greedy_hits) for t in self.thresholds]
        shrink = min(1.0, len(true) / len(predicted)) if self.od_length else 1.0
        return Score(value=shrink * math.fsum(values) / len(values))


def greedy_hits(worth: np.ndarray) -> int:
    """Each box in turn takes the best true box that is left, if it overlaps enough."""
    left = worth.copy()
    hits = 0
    for row in range(len(left)):
        column = int(left[row].argmax())
        if left[row, column] > 0:
            hits += 1
            left[:, column] = 0.0
    return hits


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GreedyIoU(BoxReward):
    """Visual-RFT, version 2: by falling confidence each box takes the best true box left, in [0, 1].

    `sum of IoU above .5 / max(G, P)` after exact duplicates are removed. Defects: every exception is 0; repeating
    a box costs nothing.
    """

    name = "greedy_iou"

    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """The published loop."""
        scores = predicted.scores or (1.0,) * len(predicted)
        first = {tuple(box): row for row, box in reversed(list(enumerate(predicted.xyxy.tolist())))}
        rows = sorted(first.values(), key=lambda row: (-scores[row], row))
        left, values = worth.copy(), []
        for row in rows:
            column = int(left[row].argmax())
            if left[row, column] > 0.5:
                values.append(float(left[row, column]))
                left[:, column] = 0.0
        return Score(value=math.fsum(values) / max(len(rows), len(true)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VisionReasoner(PairReward):
    """VisionReasoner: `sum (1[IoU > .5] + 1[mean |d| < 10] + 1[points < 30 apart]) / max(G, P)`, in [0, 3].

    Distances are pixels at 840, here relative to the image; the centre of a box is its point. Without `points` it is
    the box part alone, in [0, 2]. `negatives=False` is as published: both sides empty divides by zero there, so a
    negative image is never rewarded.
    """

    name = "vision_reasoner"
    points: bool = True
    negatives: bool = True

    def __post_init__(self) -> None:
        vars(self)["range"] = (0.0, 3.0 if self.points else 2.0)

    def worth(self, predicted: Float[np.ndarray, "*#B P 4"], true: Float[np.ndarray, "*#B G 4"]) -> np.ndarray:
        """IoU of each pair."""
        return iou_matrix(predicted, true)

    def judged(self, predicted: Boxes, true: Boxes, worth: Float[np.ndarray, "P G"]) -> Score:
        """The three indicators of each pair, then the formula; a degenerate box earns none of them."""
        size = np.array([true.space.width, true.space.height] * 2)
        a, b = (side.xyxy.clip(-1e9, 1e9) / size for side in (predicted, true))
        a, b = a[:, None], b[None]
        centres = np.linalg.norm((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2, axis=-1)
        legal = np.all(predicted.xyxy[:, None, :2] < predicted.xyxy[:, None, 2:], axis=-1)
        near = (np.abs(a - b).mean(axis=-1) < 10 / 840) & legal
        pointed = (centres < 30 / 840) & legal & self.points
        earned = np.stack([worth > 0.5, near, pointed]).sum(axis=0, dtype=np.float64)
        return super().judged(predicted, true, earned)

    def formula(self, worth: list[float], predicted: int, true: int) -> float:
        """`sum / max(P, G)`."""
        return math.fsum(worth) / max(predicted, true)

    def _against(self, predicted: Boxes, true: Boxes, worth: np.ndarray) -> Score:
        if not self.negatives and not len(predicted) and not len(true):
            return Score(value=0.0, detail={"reason": "0 / 0, as published"})
        return super()._against(predicted, true, worth)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StartsWith(Reward):
    """1 where the text begins with `prefix`: what Perception-R1's format pattern comes to, its `|` being unescaped."""

    name = "starts_with"
    prefix: str = "<"

    def score(self, completion: Completion, example: Example) -> Score:
        """0 or 1."""
        return Score(value=float(completion.text.startswith(self.prefix)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ErrorAsZero(Composed):
    """MediX-R1's way with its judge: a failure is 0, and so is an answer of one character."""

    reward: Reward

    def __post_init__(self) -> None:
        super().__post_init__()
        lo, hi = self.reward.range
        vars(self).update(name=self.reward.name, range=(min(lo, 0.0), hi))

    @property
    def children(self) -> tuple[Reward, ...]:
        """The reward inside."""
        return (self.reward,)

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """The reward's values, or 0."""
        scores = super().score_group(completions, example)
        short = [len((completion.answer or "").strip()) <= 1 for completion in completions]
        zero = Score(value=0.0, detail={"reason": "one character"})
        return [zero if cut else score for cut, score in zip(short, scores, strict=True)]

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """0 for an error."""
        (score,) = scores.values()
        return Score(value=0.0, parts=scores) if score.status == "error" else score

    def rebuilt(self, children: Sequence[Reward]) -> Reward:
        """The same around another reward."""
        return ErrorAsZero(reward=children[0])
