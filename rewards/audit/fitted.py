"""Image-independent answers chosen by the reward itself: the best on one half of the blocks answers the other half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from groundrl.rewards.audit.attack import Attack
from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.bench import Bench

MOST_FITTED = 60  # examples on which candidates are compared
FEWEST = 25  # examples in a half, below which the best of many candidates is the luckiest


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One image-independent way of answering."""

    does: str
    answer: Callable[[AuditTask, int], str | None]


def too_small(task: AuditTask) -> str | None:
    """Why nothing can be fitted on a task, if so."""
    if len(set(task.blocks)) < 2:
        return "all examples are of one block, so there is no other half"
    smaller = min(len(task.fit), len(task.held))
    return f"the smaller half of the blocks has {smaller} examples, fewer than {FEWEST}" if smaller < FEWEST else None


def best_of(candidates: Sequence[Candidate], task: AuditTask, bench: Bench, *, name: str) -> Attack:
    """The candidate with the highest mean on the first half, as a policy for the examples of the other half."""
    picked = task.fit[np.linspace(0, len(task.fit) - 1, min(MOST_FITTED, len(task.fit))).astype(int)].tolist()
    totals = np.zeros(len(candidates))
    for index in picked:
        texts = [candidate.answer(task, index) for candidate in candidates]
        totals += np.nan_to_num(bench.score(task.examples[index], texts))
    best = candidates[int(totals.argmax())]
    held = frozenset(task.held.tolist())
    return Attack(
        name=name,
        does=f"{best.does}; best of {len(candidates)} on one half of the blocks, scored on the other",
        kind="blind",
        answer=lambda task, index: best.answer(task, index) if index in held else None,
    )


def unfitted(name: str, reason: str) -> Attack:
    """A fitted policy that does not apply."""
    return Attack(name=name, does="", kind="blind", unfit=lambda task: reason, answer=lambda task, index: None)
