"""What each part of a reward contributes to learning: mean, spread, and share of the advantage variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundrl.rewards.core.glossary import Group, Score
from groundrl.rewards.core.reward import Reward


def part_statistics(groups: Sequence[Group], reward: Reward) -> dict[str, dict[str, float]]:
    """Part name -> `mean`, `std` (of the part's own values) and `advantage_share`, over scored groups.

    The share of part k is `sum_g cov_g(w_k x_k, total) / sum_g var_g(total)`, within groups g as group-relative
    advantages are: the shares of a sum add up to 1, and a part that is constant in every group has 0. Masked
    completions are left out; a part that abstains adds 0 to its total. Where no total varies every share is 0; a part
    that never spoke has `mean` and `std` nan. ValueError for a group without scores.
    """
    statistics: dict[str, dict[str, float]] = {}
    rows = [_valid(group) for group in groups]
    spread = sum(_covariance(_totals(scores), _totals(scores)) for scores in rows)
    for name, weight in reward.weights.items():
        said = np.array([value for scores in rows for s in scores if (value := _part(s, name).value) is not None])
        shared = sum(_covariance(weight * _column(scores, name), _totals(scores)) for scores in rows)
        statistics[name] = {
            "mean": float(said.mean()) if len(said) else float("nan"),
            "std": float(said.std(ddof=1)) if len(said) > 1 else (0.0 if len(said) else float("nan")),
            "advantage_share": shared / spread if spread > 0 else 0.0,
        }
    return statistics


def _valid(group: Group) -> list[Score]:
    if group.scores is None:
        raise ValueError(f"the group of example {group.example.id!r} has no scores yet; score it first")
    return [score for score in group.scores if score.status == "ok"]


def _part(score: Score, name: str) -> Score:
    """The part of that name, or the score itself where the reward is no sum."""
    return score.parts.get(name, score)


def _totals(scores: Sequence[Score]) -> np.ndarray:
    return np.array([score.value for score in scores], dtype=np.float64)


def _column(scores: Sequence[Score], name: str) -> np.ndarray:
    return np.array([_part(score, name).value or 0.0 for score in scores], dtype=np.float64)


def _covariance(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the products of deviations; 0 for values that are all equal, whatever the rounding of their mean."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(((a - a.mean()) * (b - b.mean())).sum())
