"""Boxes as numbers: IoU, GIoU, matching. Continuous coordinates (no +1); pure numpy, scipy on first use.

A degenerate box (inverted or of zero area) overlaps nothing: its IoU is 0 and its GIoU -1 with everything, itself
included. Leading axes are batches; `pad_boxes` makes a batch of ragged sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

_HUGE = 1e150  # coordinates are held within it, so that no area overflows
_TINY = 5e-324
_FORBIDDEN = -1e6  # far below anything that a pair can be worth


class Matches(NamedTuple):
    """K pairs, row of `a` to column of `b`, with what each pair is worth."""

    rows: Int[np.ndarray, " K"]
    columns: Int[np.ndarray, " K"]
    values: Float[np.ndarray, " K"]


def iou_matrix(a: Float[np.ndarray, "*#B N 4"], b: Float[np.ndarray, "*#B M 4"]) -> Float[np.ndarray, "... N M"]:
    """Intersection over union of every box of `a` with every box of `b`, in [0, 1]."""
    a, b = _paired(a, b)
    inside, union = _overlap(a, b, _area(a), _area(b))
    return np.asarray(inside / np.maximum(union, _TINY))


def giou_matrix(a: Float[np.ndarray, "*#B N 4"], b: Float[np.ndarray, "*#B M 4"]) -> Float[np.ndarray, "... N M"]:
    """Generalised IoU, in [-1, 1], of every box of `a` with every box of `b`.

    IoU - (|C| - |A u B|) / |C|, with C the smallest enclosing box (Rezatofighi et al., 2019, algorithm 1).
    """
    a, b = _paired(a, b)
    area_a, area_b = _area(a), _area(b)
    inside, union = _overlap(a, b, area_a, area_b)
    side = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    hull = np.maximum(side[..., 0] * side[..., 1], _TINY)
    giou = inside / np.maximum(union, _TINY) - (1.0 - np.minimum(union / hull, 1.0))
    return np.where((area_a > 0) & (area_b > 0), giou, -1.0)


def match_boxes(
    a: Float[np.ndarray, "N 4"],
    b: Float[np.ndarray, "M 4"],
    *,
    by: Literal["iou", "giou"] = "iou",
    method: Literal["hungarian", "greedy"] = "hungarian",
    allowed: Bool[np.ndarray, "N M"] | None = None,
) -> Matches:
    """One-to-one pairs of the boxes of `a` and `b`, worth their IoU or GIoU; `min(N, M)` pairs at most.

    `hungarian` maximises the sum, `greedy` takes the best pair that is left. A pair that is not `allowed` (another
    label, another image) is never made.
    """
    return match(iou_matrix(a, b) if by == "iou" else giou_matrix(a, b), method=method, allowed=allowed)


def match(
    values: Float[np.ndarray, "N M"],
    *,
    method: Literal["hungarian", "greedy"] = "hungarian",
    allowed: Bool[np.ndarray, "N M"] | None = None,
) -> Matches:
    """`match_boxes` on what each pair is worth."""
    if allowed is not None:
        values = np.where(allowed, values, _FORBIDDEN)
    rows, columns = assign(values) if method == "hungarian" else _greedy(values)
    worth = values[rows, columns]
    if allowed is not None:
        kept = worth > _FORBIDDEN
        rows, columns, worth = rows[kept], columns[kept], worth[kept]
    return Matches(rows, columns, worth)


def own_best(values: list[list[float]]) -> list[tuple[int, int, float]] | None:
    """`(row, column, value)` of each row's best column, where these all differ, so that nothing can be better; or None.

    For the few boxes of an answer, plain lists take a third of the time of arrays.
    """
    worth = [max(row) for row in values]
    columns = [row.index(best) for row, best in zip(values, worth, strict=True)]
    return list(zip(range(len(values)), columns, worth, strict=True)) if len(set(columns)) == len(values) else None


def assign(values: Float[np.ndarray, "N M"]) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"]]:
    """The `min(N, M)` one-to-one pairs whose values sum to the most (Hungarian assignment)."""
    n, m = values.shape
    if not n or not m:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    found = own_best(values.tolist()) if n <= m else None
    if found is not None:
        return np.arange(n), np.array([column for _, column, _ in found])
    from scipy.optimize import linear_sum_assignment  # half a second to import, so on first use

    rows, columns = linear_sum_assignment(values, maximize=True)
    return rows, columns


def _greedy(values: Float[np.ndarray, "N M"]) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"]]:
    left = values.copy()
    pairs = np.zeros((min(values.shape), 2), dtype=np.int64)
    for k in range(len(pairs)):
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        pairs[k] = row, column
        left[row, :] = left[:, column] = -np.inf
    return pairs[:, 0], pairs[:, 1]


def pad_boxes(sets: Sequence[Float[np.ndarray, "_ 4"]]) -> Float[np.ndarray, "B N 4"]:
    """Ragged sets of boxes as one batch, filled up with boxes of zero area, which overlap nothing."""
    padded = np.zeros((len(sets), max((len(one) for one in sets), default=0), 4))
    for row, one in zip(padded, sets, strict=True):
        row[: len(one)] = one
    return padded


def _paired(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _held(a)[..., :, None, :], _held(b)[..., None, :, :]


def _held(xyxy: np.ndarray) -> np.ndarray:
    return np.asarray(np.minimum(np.maximum(xyxy, -_HUGE), _HUGE))  # `clip` takes three times as long for few boxes


def _area(xyxy: np.ndarray) -> np.ndarray:
    side = np.maximum(xyxy[..., 2:] - xyxy[..., :2], 0.0)
    return np.asarray(side[..., 0] * side[..., 1])


def _overlap(a: np.ndarray, b: np.ndarray, area_a: np.ndarray, area_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area of intersection and of union of every pair; a degenerate box has neither inside nor area."""
    side = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0.0)
    inside = side[..., 0] * side[..., 1]
    return inside, area_a + area_b - inside
