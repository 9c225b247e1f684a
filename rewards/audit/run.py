"""`audit(reward, examples)`: every policy tried on a reward, and the properties that a sound reward has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundrl.rewards.audit import boxes, checks, constant, fitted, labels, reports, search, texts
from groundrl.rewards.audit.attack import Attack
from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.bench import Bench
from groundrl.rewards.audit.judging import Verdicts, lowest
from groundrl.rewards.audit.ladder import LEFT_OUT, MOVES
from groundrl.rewards.audit.report import AuditReport, Check, Rung
from groundrl.rewards.audit.score_table import ScoreTable, score_all
from groundrl.rewards.core.glossary import Example
from groundrl.rewards.core.reward import Reward

FIXED = (*texts.POLICIES, *boxes.POLICIES, *labels.POLICIES, *reports.POLICIES)
FITTED = (("best constant", constant.candidates), ("search", search.candidates))


def audit(reward: Reward, examples: Sequence[Example], *, threshold: float = 0.5, seed: int = 0) -> AuditReport:
    """Attack a reward before training on it: what do policies earn that never look at the image?

    Each policy's mean is put on the scale `(policy - worst) / (gold - worst)`. Blind policies are flagged from
    `threshold` (in (0, 1]) on, spoiled gold answers by the rules in `policy.py`; a policy that does not apply to these
    examples says why. Gold answers are `example.answer`, else written from the reference, and every answer is written
    in their form. A reward that raises is a finding, shown with the completion. The result depends on the reward, the
    examples and `seed` alone. ValueError for no examples, or one without anything to write a gold answer from.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold is a share above 0 and at most 1, got {threshold}")
    if not examples:
        raise ValueError("an audit needs at least one example")
    task, bench = AuditTask(examples, seed=seed), Bench(reward)
    policies = (*FIXED, *_fitted(task, bench))
    table = score_all(task, bench, policies)
    worst = lowest(policies, table)
    judge = Verdicts(task=task, table=table, worst=worst, threshold=threshold)
    results = judge.results(policies)
    gold, repeats = judge.gold(), checks.deterministic(task, bench, table)
    return AuditReport(
        reward=repr(reward),
        fingerprint=reward.fingerprint,
        num_examples=len(task.examples),
        num_blocks=len(set(task.blocks)),
        seed=seed,
        threshold=threshold,
        gold=gold.mean,
        gold_interval=gold.interval,
        worst=worst,
        policies=results,
        ladder=_ladder(table),
        checks=(
            checks.gold_is_best(table.gold, worst, results),
            *_noise(task, table, worst),
            checks.never_raises(bench),
            repeats,
            checks.free_of_order(task, reward, table.rows("reordered"), repeats=repeats.passed is True),
        ),
    )


def _fitted(task: AuditTask, bench: Bench) -> list[Attack]:
    reason = fitted.too_small(task)
    found = []
    for name, candidates in FITTED:
        tried = candidates(task) if reason is None else []
        why = reason if tried or reason else "the references have neither boxes, labels nor reports"
        if why is None:
            found.append(fitted.best_of(tried, task, bench, name=name))
        else:
            found.append(fitted.unfitted(name, why))
    return found


def _ladder(table: ScoreTable) -> tuple[Rung, ...]:
    """The rungs of what the reward looks at: boxes before words; none where it looks at neither."""
    levels, rungs = (MOVES, "moved") if table.looks_at_boxes else (LEFT_OUT, "left out")
    if not (table.looks_at_boxes or table.looks_at_words) or np.isnan(table.rows(rungs)).all():
        return ()
    rows = np.concatenate([table.gold[None], table.rows(rungs)])
    rows = rows[:, ~np.isnan(rows).any(axis=0)]  # the same examples on each rung
    return tuple(Rung(noise=noise, mean=float(row.mean())) for noise, row in zip((0.0, *levels), rows, strict=True))


def _noise(task: AuditTask, table: ScoreTable, worst: float | None) -> tuple[Check, ...]:
    if worst is None:
        return ()
    if table.looks_at_boxes:
        rungs = table.rows("moved")
        first = checks.noise_costs(rungs, table.gold, worst, reports=False)
        return first, checks.monotone_for_one_box(rungs, table.gold, task)
    if table.looks_at_words and task.has_reports:
        return (checks.noise_costs(table.rows("left out"), table.gold, worst, reports=True),)
    reason = "the reward does not look at boxes" if task.has_boxes else "the references have neither boxes nor a report"
    return (Check(name="noise costs", passed=None, detail=reason),)
