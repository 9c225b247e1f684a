"""What a sweep found: `results.parquet`, `ablation.md`, `ablation.png`; all from the runs that are complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from groundrl.experiments.ablation.compare import (
    START,
    Comparison,
    Mean,
    compare,
    mean_of,
    sentence,
)
from groundrl.experiments.ablation.plan import Plan, read_evaluation, read_run_config


@dataclass(frozen=True, kw_only=True)
class Results:
    """Every arm's mean and its comparison with `full`, for the one metric that was declared."""

    metric: str
    means: tuple[Mean, ...]
    comparisons: tuple[Comparison, ...]
    rows: tuple[dict[str, Any], ...]  # arm x seed x metric

    @property
    def sentences(self) -> list[str]:
        """One an arm."""
        return [sentence(each, self.metric, arms=len(self.comparisons)) for each in self.comparisons]


def read_results(plan: Plan) -> Results:
    """Read all complete runs."""
    from groundrl.experiments.recording.evaluation import per_example

    metric = plan.settings.metric
    rows: list[dict[str, Any]] = []
    arms: dict[str, dict[int, dict[int, float]]] = {}
    blocks: dict[int, str] = {}
    for job in sorted(plan.jobs(), key=lambda job: [START, *(arm.name for arm in plan.arms)].index(job.arm)):
        if not plan.done(job):
            continue
        folder = plan.run(job)
        for name, value in read_evaluation(folder).items():
            rows.append({"arm": job.arm, "seed": job.seed, "metric": name, "value": value})
        stage = read_run_config(folder).stages[-1].name
        answers = pq.read_table(folder / "evaluation" / f"{stage}.parquet").to_pylist()
        if values := per_example(answers, metric):
            arms.setdefault(job.arm, {})[job.seed] = values
            blocks |= {row["index"]: row["block"] for row in answers}
    return Results(
        metric=metric,
        means=tuple(mean_of(name, runs) for name, runs in arms.items()),
        comparisons=tuple(compare(arms, blocks)),
        rows=tuple(rows),
    )
