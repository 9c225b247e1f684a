"""A policy that answers without looking, or spoils what is right: what the audit tries on a reward.

Two kinds. *Blind* policies know the task and what is common in it, at most (`count`) how many boxes are true. *Truth*
policies take the gold answer and spoil it. Each states by which rule it is flagged, its share being
`(policy - worst) / (gold - worst)`:

- `threshold`: it deserves little, and is flagged where its share reaches the audit's threshold.
- `cost`: it still holds the right answer, so it may earn, but must pay for what was done to it: flagged where its share
  is above `1 - COST`, on the examples that it changes.
- `bonus`: what was added is harmless at best: flagged where it earns more than gold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from groundrl.rewards.audit.audit_task import AuditTask

Kind: TypeAlias = Literal["blind", "count", "truth"]
Rule: TypeAlias = Literal["threshold", "cost", "bonus"]
Touches: TypeAlias = Literal["all", "boxes", "words"]
COST = 0.05  # share of what gold earns above the worst that a spoiled gold answer must lose


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One way of answering every example.

    `does` says it in a sentence. `unfit` gives the reason why it does not apply to a task, or None. `answer` gives its
    text for one example, None where it has none. `touches`: a policy that spoils the boxes (or the words) says nothing
    about a reward that does not look at them. `excess`: it says much too much, as a grid does; a reward may punish
    that without bound, so it is not what "worst" is measured by.
    """

    name: str
    does: str
    kind: Kind
    answer: Callable[[AuditTask, int], str | None]
    unfit: Callable[[AuditTask], str | None] = lambda task: None
    rule: Rule = "threshold"
    touches: Touches = "all"
    excess: bool = False


def needs_boxes(task: AuditTask) -> str | None:
    """Why a policy of boxes does not apply, if so."""
    return None if task.has_boxes else "the references have no boxes"


def needs_reports(task: AuditTask) -> str | None:
    """Why a policy of reports does not apply, if so."""
    return None if task.has_reports else "the references have no report"
