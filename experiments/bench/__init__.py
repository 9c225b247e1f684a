"""Benchmarks by name; each gives what it measured as `{what: number}`."""

from __future__ import annotations

from collections.abc import Callable

from groundrl.experiments.bench.data import bench_data
from groundrl.experiments.bench.factuality import bench_factuality
from groundrl.experiments.bench.rewards import bench_rewards
from groundrl.experiments.bench.rollouts.report import bench_rollouts
from groundrl.experiments.bench.startup import bench_startup

BENCHES: dict[str, Callable[..., dict[str, float]]] = {
    "startup": bench_startup,
    "rewards": bench_rewards,
    "factuality": bench_factuality,
    "rollouts": bench_rollouts,
    "data": bench_data,
}
