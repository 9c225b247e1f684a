"""Policies for reports: the reference turned round, hedged, stripped of sides, or buried in normal findings.

The transformations are plain on purpose: sentence by sentence, without a lexicon. They need not be good English, only
say what their name says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product

from groundrl.rewards.audit.attack import Attack, needs_reports
from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.boxes import NONE

_SENTENCE = re.compile(r"[^.;!?\n]++[.;!?]*+\s*+")
_NEGATION = re.compile(r"\b(?:there (?:is|are) )?(?:no evidence of|no|without|not)\b\s*+", re.IGNORECASE)
_SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_ANY_SIDE = re.compile(r"\b(?:left|right|bilateral|both)(?:-sided)?\b[ ]?", re.IGNORECASE)
_ORGANS = ("heart", "aorta", "liver", "spleen", "pancreas", "kidney", "bladder", "thyroid", "trachea", "spine")
_NORMALS = ("The {} is normal.", "The {} is unremarkable.", "No abnormality of the {}.", "No lesion of the {}.")
NORMALS = " ".join(
    [text.format(organ) for text, organ in product((*_NORMALS, "The {} is not enlarged."), _ORGANS)]
)  # fifty


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with the white space behind it."""
    return _SENTENCE.findall(text)


def negated(text: str) -> str:
    """Each sentence's opposite: a negated one without its negation, any other behind "No evidence of"."""
    return "".join(
        _capital(_NEGATION.sub("", own, count=1)) if _NEGATION.search(own) else f"No evidence of {_small(own)}"
        for own in sentences(text)
    )


def hedged(text: str) -> str:
    """Each sentence as a possibility, its negation left out."""
    return "".join(f"Possible {_small(_NEGATION.sub('', own, count=1))}" for own in sentences(text))


def swapped_sides(text: str) -> str:
    """Left for right and right for left."""

    def other(found: re.Match[str]) -> str:
        side = {"left": "right", "right": "left"}[found[1].lower()]
        return side.capitalize() if found[1][0].isupper() else side

    return _SIDES.sub(other, text)


def without_sides(text: str) -> str:
    """No word that states a side."""
    return _ANY_SIDE.sub("", text)


def with_normals(text: str) -> str:
    """Fifty normal findings behind the report."""
    return f"{text.rstrip()} {NORMALS}"


def _spoiled(change: Callable[[str], str], *, boxes: bool = True) -> Callable[[AuditTask, int], str | None]:
    """The gold answer with its words changed; None where that changes nothing. Without `boxes` it states none."""

    def answer(task: AuditTask, index: int) -> str | None:
        draft = task.drafts[index]
        if task.examples[index].reference.report is None or change(draft.words) == draft.words:
            return None
        spoiled = draft.saying(change(draft.words))
        if not boxes and draft.boxes is not None:
            spoiled = replace(spoiled, boxes=NONE, labels=None)
        return spoiled.text

    return answer


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _policy(name: str, does: str, change: Callable[[str], str]) -> Attack:
    """A spoiled reference that must cost something."""
    return Attack(
        name=name,
        does=does,
        kind="truth",
        unfit=needs_reports,
        answer=_spoiled(change),
        rule="cost",
        touches="words",
    )


POLICIES = (
    Attack(
        name="fifty normals",
        does="fifty normal findings and nothing else",
        kind="blind",
        unfit=needs_reports,
        answer=lambda task, index: task.blind(index, NONE, NORMALS) if task.truth[index] is not None else NORMALS,
        excess=True,
    ),
    Attack(
        name="reference negated",
        does="the opposite of each sentence of the gold report, and no boxes",
        kind="truth",
        unfit=needs_reports,
        answer=_spoiled(negated, boxes=False),
    ),
    _policy("laterality swapped", "the gold report with left and right exchanged", swapped_sides),
    _policy("laterality dropped", "the gold report without left and right", without_sides),
    _policy("everything hedged", 'the gold report with "possible" before each sentence', hedged),
    replace(
        _policy("reference plus fifty normals", "the gold report and fifty normal findings", with_normals),
        rule="bonus",
        excess=True,
    ),
)
