"""Each arm against `full`: paired by seed and by test example, and one plain sentence of what may be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundrl.experiments.ablation.statistics import (
    ALPHA,
    cohens_dz,
    dz_interval,
    hierarchical_interval,
    holm,
    seeds_for_any_p,
    seeds_needed,
    seeds_range,
    sign_flip_p,
    smallest_p,
    too_wide,
)
from groundrl.rewards.core.intervals import t_interval

FULL = "full"  # every other arm is compared with it
START = "start"  # the common checkpoint: shown, not tested
Interval = tuple[float, float]
Values = Mapping[int, float]  # a test example's place in the data -> the metric


@dataclass(frozen=True, kw_only=True)
class Mean:
    """An arm by itself: its mean over seeds with Student's interval (None for one seed)."""

    arm: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm minus `full` over the seeds that both have; None where too few seeds or no spread leave it undefined."""

    arm: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    interval: Interval | None  # Student's, over seeds
    hierarchical: Interval | None  # bootstrap over seeds and blocks of test examples
    p: float  # sign flips, two-sided
    p_corrected: float  # Holm's, over all compared arms
    dz: float | None
    seeds_needed: int | None  # power 0.8 at this d_z
    seeds_range: tuple[int, int | None] | None  # at the ends of d_z's interval


def mean_of(arm: str, runs: Mapping[int, Values]) -> Mean:
    """An arm's mean over its seeds, each seed the mean over test examples."""
    values = np.array([np.mean(list(run.values())) for run in runs.values()])
    interval = _pair(t_interval(values)) if len(values) > 1 else None
    return Mean(arm=arm, seeds=tuple(runs), values=tuple(values.tolist()), mean=float(values.mean()), interval=interval)


def compare(arms: Mapping[str, Mapping[int, Values]], blocks: Mapping[int, str]) -> list[Comparison]:
    """Every arm but `full` and `start` against `full`, in order; arms are `name -> seed -> example -> value`.

    `blocks` names the independent block of each test example. Arms without a seed in common with `full` are left out.
    """
    full = arms.get(FULL, {})
    tested = {
        name: seeds
        for name, runs in arms.items()
        if name not in (FULL, START) and (seeds := tuple(seed for seed in runs if seed in full))
    }
    paired = {name: [_paired(arms[name][seed], full[seed], blocks) for seed in tested[name]] for name in tested}
    differences = {name: np.array([sums.sum() / counts.sum() for sums, counts in paired[name]]) for name in paired}
    p = {name: float(sign_flip_p(values)) for name, values in differences.items()}
    corrected = dict(zip(p, holm(np.array(list(p.values()))).tolist(), strict=True)) if p else {}
    return [
        _comparison(name, seeds, differences[name], paired[name], p=p[name], p_corrected=corrected[name])
        for name, seeds in tested.items()
    ]


def sentence(found: Comparison, metric: str, *, arms: int) -> str:
    """What may be said of an arm, `arms` of them being compared."""
    seeds = len(found.seeds)
    by = f"`{found.arm}` minus full is {found.mean:+.3f} {metric}"
    if seeds == 1:
        return f"{by} in the one seed that was run, which says nothing of another."
    assert found.interval is not None
    by += f" (95 % interval {found.interval[0]:+.3f} to {found.interval[1]:+.3f}, {seeds} seeds)"
    p = f"p = {found.p:.3g}, corrected {found.p_corrected:.3g}"
    if not any(found.differences):
        return f"{by}: the same in every seed."
    if found.p_corrected <= ALPHA:
        return f"{by}: it is {'better' if found.mean > 0 else 'worse'} ({p})."
    agree = max(sum(value > 0 for value in found.differences), sum(value < 0 for value in found.differences))
    why = f"; {agree} of {seeds} seeds agree in direction"
    if smallest_p(seeds, arms=arms) > ALPHA:
        why += f", and {seeds} seeds cannot give a corrected p of {ALPHA} or less whatever the effect"
    return f"{by}: no difference is shown ({p}{why}). {_planning(found)}"


def limits(seeds: int, arms: int) -> str:
    """What so many seeds can show at all, said before anything is run and again beside the results."""
    text = "With fewer than 6 seeds no two-sided sign-flip p below .05 exists. "
    text += f"With {seeds} seed{'s' * (seeds != 1)} the smallest is {smallest_p(seeds):.3g}"
    if arms < 2:
        return text + "."
    return (
        f"{text}, after Holm's correction over {arms} arms {smallest_p(seeds, arms=arms):.3g}; "
        f"it takes {seeds_for_any_p(arms)} seeds for one below .05."
    )


def _comparison(
    name: str,
    seeds: tuple[int, ...],
    differences: np.ndarray,
    paired: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    p: float,
    p_corrected: float,
) -> Comparison:
    dz = cohens_dz(differences)
    return Comparison(
        arm=name,
        seeds=seeds,
        differences=tuple(differences.tolist()),
        mean=float(differences.mean()),
        interval=_pair(t_interval(differences)) if len(seeds) > 1 else None,
        hierarchical=hierarchical_interval(*(np.stack(columns) for columns in zip(*paired, strict=True))),
        p=p,
        p_corrected=p_corrected,
        dz=dz,
        seeds_needed=seeds_needed(dz) if dz is not None else None,
        seeds_range=seeds_range(dz_interval(dz, len(seeds))) if dz is not None else None,
    )


def _paired(arm: Values, full: Values, blocks: Mapping[int, str]) -> tuple[np.ndarray, np.ndarray]:
    """Differences on the same test examples, summed by block, and how many; all blocks, in one order."""
    names = {name: index for index, name in enumerate(sorted(set(blocks.values())))}
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for example in arm.keys() & full.keys():
        sums[names[blocks[example]]] += arm[example] - full[example]
        counts[names[blocks[example]]] += 1
    return sums, counts


def _planning(found: Comparison) -> str:
    """How many seeds it would take, and whether that is known well enough to plan with."""
    if found.seeds_range is None:
        return "Without spread between the seeds nothing can be said of the seeds needed."
    low, high = found.seeds_range
    needed = f"more than {low}" if found.seeds_needed is None else str(found.seeds_needed)
    span = f"{low} to {high if high is not None else 'any number'}"
    if too_wide(found.seeds_range, len(found.seeds)):
        return f"Seeds needed for a power of 0.8: {needed}, but the range is {span}: too wide to use."
    return f"Seeds needed for a power of 0.8: {needed} (range {span})."


def _pair(interval: np.ndarray) -> Interval:
    low, high = interval.tolist()
    return low, high
