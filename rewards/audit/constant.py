"""The best constant answer: the commonest label, the median boxes, the commonest answer as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from groundrl.rewards.audit.audit_task import AuditTask, most_common
from groundrl.rewards.audit.fitted import Candidate

MOST_BOXES = 8
MOST_ANSWERS = 20


def candidates(task: AuditTask) -> list[Candidate]:
    """Constant answers, all read off the first half."""
    found = [
        Candidate(does=f"always {_short(text)!r}", answer=lambda task, index, text=text: text)  # type: ignore[misc]
        for text in common_answers(task)
    ]
    for count in range(MOST_BOXES + 1):
        unit = median_boxes(task, count)
        if unit is not None:
            words = words_for(task, count)
            does = f"always the {count} median boxes of images with {count}, and the words {words!r}"
            found.append(Candidate(does=does, answer=blind(unit, words)))
    return found


def blind(unit: Float[np.ndarray, "N 4"], words: str | None) -> Callable[[AuditTask, int], str | None]:
    """These boxes and these words, whatever the image."""
    return lambda task, index: task.blind(index, unit, words)


def common_answers(task: AuditTask) -> list[str]:
    """The commonest gold answers of the first half, commonest first."""
    counts = Counter(task.golds[index] for index in task.fit.tolist())
    return [text for text, _ in counts.most_common(MOST_ANSWERS)]


def median_boxes(task: AuditTask, count: int) -> Float[np.ndarray, "N 4"] | None:
    """The median of the first, second, ... true box over the examples of the first half that have so many."""
    sets = [
        truth / task.scale(index)
        for index in task.fit.tolist()
        if (truth := task.truth[index]) is not None and len(truth) == count
    ]
    return np.median(np.stack(sets), axis=0) if sets else None


def words_for(task: AuditTask, count: int) -> str | None:
    """The commonest words of answers with so many boxes; where there are none, the commonest words of all."""
    own = [
        task.drafts[index].words
        for index in task.fit.tolist()
        if (truth := task.truth[index]) is not None and len(truth) == count
    ]
    return most_common(own) or None


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-15:]}"
