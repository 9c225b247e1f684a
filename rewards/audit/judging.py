"""What each policy earns on the scale from worst to gold, and whether that is too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from groundrl.rewards.audit.attack import COST, Attack
from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.report import Interval, Offence, PolicyResult
from groundrl.rewards.audit.score_table import SAME, ScoreTable
from groundrl.rewards.core.intervals import block_interval, block_sums

SHOWN = 3  # completions that are kept of a flagged policy; one of any other


def lowest(policies: Sequence[Attack], table: ScoreTable) -> float | None:
    """The least that any policy earns on average, of those that are wrong without saying far too much.

    A reward may punish a grid of a hundred boxes or an endless text without bound; measured by that, all else would
    look well paid. None where gold or every policy has no number.
    """
    means = [
        float(row[~np.isnan(row)].mean())
        for policy, row in zip(policies, table.rows("policies"), strict=True)
        if policy.rule == "threshold" and not policy.excess and not np.isnan(row).all()
    ]
    return None if np.isnan(table.gold).all() else min(means, default=None)


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """Puts the scores of the table on the scale and applies each policy's rule."""

    task: AuditTask
    table: ScoreTable
    worst: float | None
    threshold: float

    def gold(self) -> PolicyResult:
        """What gold itself earns."""
        gold = Attack(name="gold", does="the gold answer", kind="truth", answer=lambda task, index: task.golds[index])
        return self._judged([gold], self.table.gold[None])[0]

    def results(self, policies: Sequence[Attack]) -> tuple[PolicyResult, ...]:
        """One result for each policy, in order."""
        return self._judged(policies, self.table.rows("policies"))

    def _judged(self, policies: Sequence[Attack], rows: Float[np.ndarray, "K E"]) -> tuple[PolicyResult, ...]:
        return tuple(self._result(policy, row) for policy, row in zip(policies, rows, strict=True))

    def _result(self, policy: Attack, row: Float[np.ndarray, " E"]) -> PolicyResult:
        limits = {"threshold": self.threshold, "cost": 1.0 - COST, "bonus": 1.0}
        blank = PolicyResult(
            name=policy.name, does=policy.does, kind=policy.kind, rule=policy.rule, limit=limits[policy.rule]
        )
        valid = ~(np.isnan(row) | np.isnan(self.table.gold))
        reason = self._reason(policy, valid)
        if reason is not None:
            return replace(blank, reason=reason)
        mean, gold = float(row[valid].mean()), float(self.table.gold[valid].mean())
        result = replace(blank, num_examples=int(valid.sum()), mean=mean, interval=self._interval(row, None, valid))
        if self.worst is not None and gold - self.worst > SAME:
            scale = (mean - self.worst) / (gold - self.worst)
            span = self._interval(row - self.worst, self.table.gold - self.worst, valid)
            result = replace(result, scale=scale, scale_interval=span, flagged=self._too_much(policy, scale))
        return replace(result, offences=self._offences(policy, row, valid, SHOWN if result.flagged else 1))

    def _interval(
        self, above_E: Float[np.ndarray, " E"], below_E: Float[np.ndarray, " E"] | None, valid: np.ndarray
    ) -> Interval | None:
        """That of the sum of `above` over the sum of `below`, or over the number of valid examples."""
        terms = np.stack([above_E, np.ones_like(above_E) if below_E is None else below_E], axis=-1)
        sums = block_sums(terms[valid], [self.task.blocks[index] for index in np.flatnonzero(valid)])
        low, high = block_interval(sums)
        return None if low is None or high is None else (low, high)

    def _reason(self, policy: Attack, valid: np.ndarray) -> str | None:
        if (reason := policy.unfit(self.task)) is not None:
            return reason
        if policy.touches == "boxes" and not self.table.looks_at_boxes:
            return "the reward does not look at boxes"
        if policy.touches == "words" and not self.table.looks_at_words:
            return "the reward does not look at the words"
        return None if valid.any() else "it changes no example, or the reward gives it no number"

    def _too_much(self, policy: Attack, scale: float) -> bool:
        if policy.rule == "threshold":
            return scale >= self.threshold - SAME
        return scale > (1.0 - COST if policy.rule == "cost" else 1.0 + SAME)

    def _offences(self, policy: Attack, row: np.ndarray, valid: np.ndarray, count: int) -> tuple[Offence, ...]:
        """The best paid completions, first those of examples that have something to find."""
        nothing = np.array([truth is not None and not len(truth) for truth in self.task.truth])
        order = np.lexsort((-row, nothing, ~valid))[: min(count, int(valid.sum()))]
        return tuple(
            Offence(
                example_id=self.task.examples[index].id,
                text=policy.answer(self.task, index) or "",
                score=float(row[index]),
                gold=float(self.table.gold[index]),
            )
            for index in order.tolist()
        )
