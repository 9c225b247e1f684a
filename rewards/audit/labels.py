"""Policies for labels: every label at once, both sides of a question, and a word that hides one of them."""

from __future__ import annotations

import re
from collections.abc import Callable

from groundrl.rewards.audit.attack import Attack
from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.boxes import NONE
from groundrl.rewards.library.labels import normalised

MOST = 100  # labels that are listed


def _needs_labels(task: AuditTask) -> str | None:
    if len(task.labels) < 2:
        return "the references have fewer than two labels"
    return None if task.frame.words else "the gold answers state their labels in no words"


def _needs_yes_and_no(task: AuditTask) -> str | None:
    if {normalised(label) for label in task.labels} != {"yes", "no"}:
        return "the labels are not yes and no"
    return _needs_labels(task)


def _saying(words: Callable[[AuditTask], str]) -> Callable[[AuditTask, int], str | None]:
    return lambda task, index: in_frame(task, index, words(task))


def in_frame(task: AuditTask, index: int, label: str) -> str | None:
    """This label in the frame of the commonest answer, with no boxes where boxes are asked for."""
    words = _in_place(task, label)
    if task.truth[index] is not None:
        return task.blind(index, NONE, words)
    return task.frame.saying(words).text if task.frame.style is None else words


def _in_place(task: AuditTask, label: str) -> str:
    """The commonest words with this label where theirs stands ("The answer is B." with A), else the label alone."""
    for own in sorted(task.labels, key=len, reverse=True):
        found = re.search(rf"(?<!\w){re.escape(own)}(?!\w)", task.words)
        if found is not None:
            return task.words[: found.start()] + label + task.words[found.end() :]
    return label


POLICIES = (
    Attack(
        name="every label",
        does="all labels of the data, one after the other",
        kind="blind",
        unfit=_needs_labels,
        answer=_saying(lambda task: ", ".join(task.labels[:MOST])),
    ),
    Attack(
        name="both yes and no",
        does="yes and no in one answer",
        kind="blind",
        unfit=_needs_yes_and_no,
        answer=_saying(lambda task: "yes and no"),
    ),
    Attack(
        name="neither yes nor no",
        does='"unknown", which has "no" inside, though no such word',
        kind="blind",
        unfit=_needs_yes_and_no,
        answer=_saying(lambda task: "unknown"),
    ),
)
