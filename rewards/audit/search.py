"""A search over image-independent answers: some boxes of a grid, of some size; each label; the commonest sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product

import numpy as np
from jaxtyping import Float

from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.boxes import NONE, grid
from groundrl.rewards.audit.constant import blind, words_for
from groundrl.rewards.audit.fitted import Candidate
from groundrl.rewards.audit.labels import in_frame
from groundrl.rewards.audit.reports import sentences

GRIDS = (1, 2, 3, 4, 6)
SIZES = (0.5, 1.0, 1.5)  # times a tile
NUMBERS = (1, 2, 3, 4, 6)  # boxes, those nearest to the centre; and all
MOST_LABELS = 40
SENTENCES = (1, 2, 4, 8, 16)


def candidates(task: AuditTask) -> list[Candidate]:
    """Everything that is tried; empty where a task has neither boxes, labels nor reports."""
    return [*(_layouts(task) if task.has_boxes else ()), *_labels(task), *(_reports(task) if task.has_reports else ())]


def _layouts(task: AuditTask) -> list[Candidate]:
    found = []
    for n, size in product(GRIDS, SIZES):
        boxes = grid(n, size=size)
        for count in sorted({*(k for k in NUMBERS if k < n * n), n * n}):
            for words in dict.fromkeys((task.words, words_for(task, count) or task.words)):
                shown = f", and the words {words!r}" if words else ""
                does = f"{count} of the {n * n} boxes of a {n}x{n} grid, {size:g} times as large as its tiles{shown}"
                found.append(Candidate(does=does, answer=blind(central(boxes, count), words)))
    return found


def central(boxes: Float[np.ndarray, "N 4"], count: int) -> Float[np.ndarray, "K 4"]:
    """The `count` boxes nearest to the image's centre."""
    distance = np.abs(boxes[:, :2] + boxes[:, 2:] - 1.0).sum(axis=1).round(9)
    return boxes[np.sort(np.argsort(distance, kind="stable")[:count])]


def _labels(task: AuditTask) -> list[Candidate]:
    return [
        Candidate(
            does=f"always the label {label!r}",
            answer=lambda task, index, label=label: in_frame(task, index, label),  # type: ignore[misc]
        )
        for label in task.labels[:MOST_LABELS]
    ]


def _reports(task: AuditTask) -> list[Candidate]:
    """The commonest sentences of the first half's reports, so many of them."""
    drafts = [task.drafts[index] for index in task.fit.tolist()]
    counts = Counter(sentence.strip() for draft in drafts for sentence in sentences(draft.words))
    common = [sentence for sentence, _ in counts.most_common(max(SENTENCES))]
    found = []
    for number in (k for k in SENTENCES if k <= len(common)):
        words = " ".join(common[:number])
        found.append(Candidate(does=f"the {number} commonest sentences of the reports", answer=_saying(words)))
    return found


def _saying(words: str) -> Callable[[AuditTask, int], str | None]:
    return lambda task, index: task.blind(index, NONE, words) if task.truth[index] is not None else words
