"""The same boxes listed in other orders."""

from __future__ import annotations

import numpy as np

from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.boxes import random_boxes


def reordered(task: AuditTask, index: int) -> list[str | None]:
    """True boxes and one false box: in order, backwards, and begun in the middle."""
    truth = task.truth[index]
    if truth is None:
        return [None] * 3
    false = random_boxes(task.rng(index, 5), 1 + (len(truth) == 0)) * task.scale(index)
    boxes = np.concatenate([truth, false])
    indices = np.arange(len(boxes))
    written: list[str | None] = []
    for order in (indices, indices[::-1], np.roll(indices, len(indices) // 2)):
        labels = task.labels_of(index, np.where(order < len(truth), order, -1))
        written.append(task.drafts[index].with_boxes(boxes[order], labels))
    return written
