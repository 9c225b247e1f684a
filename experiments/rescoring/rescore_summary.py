"""What another reward changes, in numbers: totals, the signs of advantages, ranks within groups, informative groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

SHOWN = 20  # completions that changed most


def compare(table: pa.Table) -> dict[str, Any]:
    """The summary of `Rescored.table`.

    Where a log has no totals (TRL's), its advantages stand in for them: within a group they have the same order. Rank
    correlation is Kendall's tau-b, over the groups in which both sides vary. A group is informative where two valid
    completions differ. Differences and flips are over the completions that have both numbers.
    """
    old, new = _numbers(table, "old"), _numbers(table, "new")
    before, after = _advantage(table, "old_advantage"), _advantage(table, "new_advantage")
    groups = _group_index(table)
    ranked = before if np.isnan(old).all() else old
    taus = kendall_tau(_by_group(ranked, groups), _by_group(new, groups))
    were, are = _informative(_by_group(ranked, groups)), _informative(_by_group(new, groups))
    flips = (before * after) < 0
    return {
        "completions": len(table),
        "groups": int(groups.max()) + 1,
        "total": {"old_mean": _mean(old), "new_mean": _mean(new), **_differences(old, new)},
        "parts": {
            name.removeprefix("parts/"): _mean(_numbers(table, name))
            for name in table.column_names
            if name.startswith("parts/")
        },
        "without_score": int(np.isnan(new).sum()),
        "advantages": {"sign_flips": int(flips.sum()), **_differences(before, after)},
        "rank_correlation": {"mean": _mean(taus), "groups": int(np.isfinite(taus).sum())},
        "informative": {
            "old": int(were.sum()),
            "new": int(are.sum()),
            "gained": int((are & ~were).sum()),
            "lost": int((were & ~are).sum()),
        },
    }


def recorded_parts(table: pa.Table) -> dict[str, float | None]:
    """The mean of each part that a log recorded: of a run the reward's, of TRL and verl every number beside it."""
    names = [name for name in table.column_names if name.startswith("parts/") and name.count("/") == 1]
    return {name.removeprefix("parts/"): _mean(_numbers(table, name)) for name in names}


def most_changed(table: pa.Table, recorded: pa.Table) -> list[dict[str, Any]]:
    """The completions whose advantage changed most (their total, where advantages are not known), with their parts."""
    change = np.abs(_advantage(table, "new_advantage") - _advantage(table, "old_advantage"))
    if np.isnan(change).all():
        change = np.abs(_numbers(table, "new") - _numbers(table, "old"))
    order = np.argsort(-np.nan_to_num(change, nan=-1.0), kind="stable")[:SHOWN]
    rows = pa.array([row for row in order.tolist() if change[row] > 0], pa.int64())
    plain = [name for name in recorded.column_names if name.startswith("parts/") and name.count("/") == 1]
    found = zip(table.take(rows).to_pylist(), recorded.select(plain).take(rows).to_pylist(), strict=True)
    return [
        {
            **{name: value for name, value in now.items() if not name.startswith("parts/")},
            "old_parts": {name.removeprefix("parts/"): value for name, value in was.items()},
            "new_parts": {n.removeprefix("parts/"): value for n, value in now.items() if n.startswith("parts/")},
        }
        for now, was in found
    ]


def kendall_tau(a: Float[np.ndarray, "P G"], b: Float[np.ndarray, "P G"]) -> Float[np.ndarray, " P"]:
    """Kendall's tau-b of each row, over the places where both have a number; nan where one side does not vary.

    `sum_ij sign(a_i - a_j) sign(b_i - b_j) / sqrt(sum_ij sign(a_i - a_j)^2 sum_ij sign(b_i - b_j)^2)` (Kendall, 1945).
    """
    both = np.isfinite(a) & np.isfinite(b)
    pairs = both[:, :, None] & both[:, None, :]
    first, second = (np.where(pairs, np.sign(x[:, :, None] - x[:, None, :]), 0.0) for x in (a, b))
    scale = np.sqrt((first**2).sum(axis=(1, 2)) * (second**2).sum(axis=(1, 2)))
    agreement = (first * second).sum(axis=(1, 2))
    taus: Float[np.ndarray, " P"] = np.divide(agreement, scale, out=np.full(len(a), np.nan), where=scale > 0)
    return taus


def _group_index(table: pa.Table) -> Int[np.ndarray, " N"]:
    """The number of each row's group; rows of one step and group stand side by side."""
    steps, groups = table["step"].to_numpy(), table["group"].to_numpy()
    begins = (np.diff(steps, prepend=steps[:1]) != 0) | (np.diff(groups, prepend=groups[:1]) != 0)
    return np.asarray(begins.cumsum())


def _by_group(values: Float[np.ndarray, " N"], groups: Int[np.ndarray, " N"]) -> Float[np.ndarray, "P G"]:
    """One row a group, filled up with nan."""
    indices = np.arange(len(groups)) - np.searchsorted(groups, groups)
    result = np.full((int(groups[-1]) + 1, int(indices.max()) + 1), np.nan)
    result[groups, indices] = values
    return result


def _informative(values_PG: Float[np.ndarray, "P G"]) -> np.ndarray:
    low, high = np.where(np.isnan(values_PG), np.inf, values_PG), np.where(np.isnan(values_PG), -np.inf, values_PG)
    return np.asarray(high.max(axis=1) > low.min(axis=1))


def _numbers(table: pa.Table, name: str) -> Float[np.ndarray, " N"]:
    """A column of numbers, nan where there is none."""
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _advantage(table: pa.Table, name: str) -> Float[np.ndarray, " N"]:
    """One advantage a completion, the mean over its tokens where they differ; nan where it is not known."""
    column = table[name].combine_chunks()
    lengths = np.nan_to_num(np.asarray(column.value_lengths().to_numpy(zero_copy_only=False), dtype=np.float64))
    sums = np.bincount(np.repeat(np.arange(len(column)), lengths.astype(int)), column.flatten().to_numpy(), len(column))
    means: Float[np.ndarray, " N"] = np.divide(sums, lengths, out=np.full(len(column), np.nan), where=lengths > 0)
    return means


def _differences(old: Float[np.ndarray, " N"], new: Float[np.ndarray, " N"]) -> dict[str, Any]:
    change = np.abs(new - old)[np.isfinite(old) & np.isfinite(new)]
    largest = float(change.max()) if len(change) else None
    return {"compared": len(change), "equal": int((change == 0).sum()), "largest_difference": largest}


def _mean(values: Float[np.ndarray, " N"]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
