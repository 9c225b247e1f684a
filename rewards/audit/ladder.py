"""Gold under growing noise: boxes moved step by step, sentences left out one after the other."""

from __future__ import annotations

from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.boxes import moved, without_boxes
from groundrl.rewards.audit.reports import sentences

MOVES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)  # times a box's width and height; IoU .83 .68 .47 .32 .14 .03 0
LEFT_OUT = (0.25, 0.5, 0.75, 1.0)  # share of the sentences
HALF = 0.5  # the noise that must cost something


def box_rungs(task: AuditTask, index: int) -> list[str | None]:
    """The gold answer with its boxes moved by each of `MOVES`."""
    return [moved(task, index, noise) for noise in MOVES]


def report_rungs(task: AuditTask, index: int) -> list[str | None]:
    """The gold answer without the last sentences of its report, by each of `LEFT_OUT`."""
    draft = task.drafts[index]
    if task.examples[index].reference.report is None:
        return [None] * len(LEFT_OUT)
    said = sentences(draft.words)
    return [draft.saying("".join(said[: round(len(said) * (1 - share))]).strip()).text for share in LEFT_OUT]


def probes(task: AuditTask, index: int) -> tuple[str | None, str | None, str | None]:
    """The gold answer with its boxes all moved away, with none, and with the words of another example.

    A reward that gives all of them what it gives to gold does not look at boxes, or not at words.
    """
    away, none = moved(task, index, 1.0), without_boxes(task, index)
    other = task.drafts[(index + 1) % len(task.drafts)].words
    return away, none, task.drafts[index].saying(other).text if other else None
