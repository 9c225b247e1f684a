"""The metrics of one RL step that do not come from the update: rewards, groups, lengths, and the clock."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from groundrl.rewards import Group, Judge, Reward, part_statistics
from groundrl.rewards.core.reward import parts_of


def valid_values(group: Group) -> list[float]:
    """The totals of the completions that have one."""
    return [score.value for score in group.scores or () if score.value is not None]


def reward_metrics(groups: Sequence[Group], reward: Reward) -> dict[str, float]:
    """The `reward/*`, `groups/*` and `completions/*` fields of metrics.jsonl over scored groups.

    A judge adds `usage/<its name>/*`: what it has cost since this process began, on this rank.
    """
    totals = [valid_values(group) for group in groups]
    kept = [values for values in totals if len(values) >= 2]
    flat = np.array([value for values in totals for value in values])
    completions = [completion for group in groups for completion in group.completions]
    statuses = Counter(score.status for group in groups for score in group.scores or ())
    metrics = {
        "reward/mean": float(flat.mean()) if len(flat) else float("nan"),
        "reward/std": float(flat.std(ddof=1)) if len(flat) > 1 else 0.0,
        "groups/informative": float(sum(len(set(values)) > 1 for values in kept)),
        "groups/zero_variance": float(sum(len(set(values)) == 1 for values in kept)),
        "groups/dropped": float(len(groups) - len(kept)),
        "completions/masked": float(len(completions) - len(flat)),
        **{f"completions/{status}": float(statuses[status]) for status in ("abstain", "error", "nonfinite")},
        "completions/truncated": float(np.mean([completion.finish_reason == "length" for completion in completions])),
        "completion_length/mean": float(np.mean([len(completion.token_ids) for completion in completions])),
    }
    for part, statistics in part_statistics(groups, reward).items():
        metrics |= {f"reward/{part}/{name}": value for name, value in statistics.items()}
    for judge in parts_of(reward):
        if isinstance(judge, Judge):
            metrics |= {f"usage/{judge.name}/{name}": float(count) for name, count in vars(judge.usage).items()}
    return metrics


class Clock:
    """Seconds by phase of one step; only the timing fields depend on it."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.phases: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """The time since the last lap was this phase's."""
        now = time.perf_counter()
        self.phases[f"seconds/{phase}"] = now - self.last
        self.last = now

    def metrics(self, groups: Sequence[Group]) -> dict[str, float]:
        """The timing fields of metrics.jsonl."""
        seconds = time.perf_counter() - self.start
        tokens = sum(len(completion.token_ids) for group in groups for completion in group.completions)
        return {**self.phases, "seconds/step": seconds, "tokens_per_second": tokens / seconds}
