"""The properties of a sound reward: gold is best, noise costs, it never raises, it repeats itself, order is nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from groundrl.rewards.audit.attack import COST
from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.bench import Bench
from groundrl.rewards.audit.ladder import HALF, LEFT_OUT, MOVES
from groundrl.rewards.audit.reordering import reordered
from groundrl.rewards.audit.report import Check, Offence, PolicyResult
from groundrl.rewards.audit.score_table import SAME, ScoreTable
from groundrl.rewards.core.reward import Reward, parts_of

SHOWN = 3
_ROUNDING = 0.005  # of what gold earns: boxes move by whole thousandths or pixels


def gold_is_best(gold_E: Float[np.ndarray, " E"], worst: float | None, results: Sequence[PolicyResult]) -> Check:
    """Gold earns more than the worst policy, and no policy more than gold."""
    name = "gold is the maximum"
    if worst is None:
        return Check(name=name, passed=False, detail="the reward abstains on every gold answer, or gives it no number")
    gold = float(np.nanmean(gold_E))
    if gold - worst <= SAME:
        return Check(name=name, passed=False, detail=f"gold earns {gold:.3f}, no more than the worst policy")
    above = [own for own in results if own.scale is not None and own.scale > 1.0 + SAME]
    if not above:
        return Check(name=name, passed=True)
    best = max(above, key=lambda own: own.scale or 0.0)
    detail = f"{best.name} earns {best.scale:.3f} times what gold earns above the worst"
    return Check(name=name, passed=False, detail=detail, offences=best.offences)


def noise_costs(
    rungs_LE: Float[np.ndarray, "L E"], gold_E: Float[np.ndarray, " E"], worst: float, *, reports: bool
) -> Check:
    """Half of a box's size, or of the sentences, costs at least `COST` of what gold earns above the worst."""
    name, levels = "noise costs", LEFT_OUT if reports else MOVES
    lost = gold_E - rungs_LE[levels.index(HALF)]
    scale = float(np.nanmean(gold_E)) - worst
    share = float(np.nanmean(lost)) / scale if scale > SAME else 0.0
    what = "half of the sentences left out" if reports else "boxes moved by half their size"
    detail = f"{what} cost {share:.1%} of what gold earns"
    return Check(name=name, passed=share >= COST, detail=detail)


def monotone_for_one_box(rungs_LE: Float[np.ndarray, "L E"], gold_E: Float[np.ndarray, " E"], task: AuditTask) -> Check:
    """Where there is one true box, more noise never earns more."""
    name = "more noise never pays (one box)"
    one = [index for index, truth in enumerate(task.truth) if truth is not None and len(truth) == 1]
    rungs = np.concatenate([gold_E[None], rungs_LE])[:, one]
    if not one or np.isnan(rungs).all():
        return Check(name=name, passed=None, detail="no example has exactly one true box")
    means = np.nanmean(rungs, axis=1)
    rises = np.diff(means)
    if rises.max() <= _ROUNDING * abs(means[0]) + SAME:
        return Check(name=name, passed=True)
    worst = int(rises.argmax())
    levels = (0.0, *MOVES)
    detail = f"from {levels[worst]:g} to {levels[worst + 1]:g} box sizes the reward rises by {rises[worst]:.3f}"
    return Check(name=name, passed=False, detail=detail)


def never_raises(bench: Bench) -> Check:
    """Every completion gets a finite number, or an abstention."""
    name = "never raises"
    if not bench.problems:
        return Check(name=name, passed=True)
    first = bench.problems[0]
    detail = f"{len(bench.problems)} completions without a number; the first: {first.message}"
    shown = {problem.message.split("\n")[0]: problem for problem in reversed(bench.problems)}
    offences = tuple(
        Offence(example_id=own.example_id, text=own.text, score=None, gold=None)
        for own in list(shown.values())[-SHOWN:]
    )
    return Check(name=name, passed=False, detail=detail, offences=offences)


def deterministic(task: AuditTask, bench: Bench, table: ScoreTable) -> Check:
    """The same answers in another order get the same scores again."""
    name = "deterministic"
    for index, own in enumerate(table.texts):
        again = bench.score(task.examples[index], own[::-1])[::-1]
        differs = np.abs(again - table.values[:, index]) > SAME
        if differs.any():
            place = int(differs.argmax())
            first, second = table.values[place, index], again[place]
            detail = f"a completion of example {task.examples[index].id!r} scores {first:.6g}, then {second:.6g}"
            shown = _offence(task, index, own[place], first, second)
            return Check(name=name, passed=False, detail=detail, offences=(shown,))
    return Check(name=name, passed=True)


def free_of_order(task: AuditTask, reward: Reward, values_3E: Float[np.ndarray, "3 E"], *, repeats: bool) -> Check:
    """The order in which boxes are listed changes nothing, unless the reward declares that it does."""
    name = "order of boxes does not matter"
    if not task.has_boxes:
        return Check(name=name, passed=None, detail="the references have no boxes")
    if not repeats:
        return Check(name=name, passed=None, detail="the reward is not deterministic")
    if any(part.ordered for part in parts_of(reward)):
        return Check(name=name, passed=None, detail="the reward declares that order matters")
    spread = np.nan_to_num(np.abs(values_3E - values_3E[0]).max(axis=0))
    index = int(spread.argmax())
    if spread[index] <= SAME:
        return Check(name=name, passed=True)
    place = int(np.abs(values_3E[:, index] - values_3E[0, index]).argmax())
    first, second = values_3E[0, index], values_3E[place, index]
    detail = f"the same boxes of example {task.examples[index].id!r} score {first:.3f} and, reordered, {second:.3f}"
    shown = _offence(task, index, reordered(task, index)[place], second, first)
    return Check(name=name, passed=False, detail=detail, offences=(shown,))


def _offence(task: AuditTask, index: int, text: str | None, score: float, gold: float) -> Offence:
    return Offence(example_id=task.examples[index].id, text=text or "", score=float(score), gold=float(gold))
