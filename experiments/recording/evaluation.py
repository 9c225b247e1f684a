"""Evaluation on held-out examples: metrics with stated definitions, rows that are kept, intervals over blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning.fabric import Fabric

from groundrl.experiments.config.run import EvaluationConfig
from groundrl.experiments.metrics import METRICS, Metric
from groundrl.experiments.metrics.figures import figure
from groundrl.rewards import (
    Example,
    Group,
    Reward,
    Scorer,
)
from groundrl.rewards.core.intervals import block_interval, block_sums, ratio
from groundrl.rollout.io.records import completion_columns
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.sampling.engine import Engine, seed_key
from groundrl.rollout.settings import Sampling


@dataclass(frozen=True, kw_only=True)
class NamedDecoding:
    """One way of answering each example."""

    name: str
    temperature: float
    samples: int


def decodings(config: EvaluationConfig, *, within: bool = False) -> tuple[NamedDecoding, ...]:
    """Sampled at T = 1, sampled at T = 0.5, and greedy; `within` a stage one sample at T = 1, and greedy."""
    if within:
        sampled = NamedDecoding(name="sampled", temperature=1.0, samples=1)
        return (sampled, NamedDecoding(name="greedy", temperature=0.0, samples=1))
    return (
        NamedDecoding(name="sampled", temperature=1.0, samples=config.samples_per_example),
        NamedDecoding(name="cool", temperature=0.5, samples=max(1, config.samples_per_example // 2)),
        NamedDecoding(name="greedy", temperature=0.0, samples=1),
    )


def evaluate(
    loader: Loader,
    engine: Engine,
    reward: Reward | None,
    config: EvaluationConfig,
    metrics: Mapping[str, Metric],
    *,
    seed: int,
    fabric: Fabric,
    within: bool = False,
) -> tuple[list[dict[str, Any]], dict[int, Example]]:
    """One row for each completion of each test example, in order; examples by place; every rank gets all of them.

    `metrics`: column to metric. `within` a stage there are fewer completions: see `decodings`.
    """
    indices = range(fabric.global_rank, len(loader.source), fabric.world_size)
    loaded = [(index, found[0]) for index in indices if (found := loader.get(index)) is not None]
    rows = []
    scorer = Scorer(reward) if reward is not None else None
    for decoding in decodings(config, within=within):
        sampling = Sampling(max_new_tokens=config.max_new_tokens, temperature=decoding.temperature)
        keys = [
            seed_key(seed=seed, stream="evaluation", stage=decoding.name, step=0, prompt=index) for index, _ in loaded
        ]
        groups = engine.generate(
            [example for _, example in loaded], group_size=decoding.samples, sampling=sampling, seed_keys=keys
        )
        in_order = sorted(groups, key=lambda group: group.index)
        for (index, _), group in zip(loaded, in_order, strict=True):
            rows += _rows(index, decoding.name, group, scorer, metrics)
    examples = dict(loaded)
    if fabric.world_size > 1:
        import torch.distributed

        gathered: list[Any] = [None] * fabric.world_size
        torch.distributed.all_gather_object(gathered, (rows, examples))
        rows = sorted((row for part in gathered for row in part[0]), key=lambda row: (row["decoding"], row["index"]))
        examples = {place: example for part in gathered for place, example in part[1].items()}
    return rows, examples


def _rows(
    index: int, decoding: str, group: Group, scorer: Scorer | None, metrics: Mapping[str, Metric]
) -> list[dict[str, Any]]:
    example = group.example
    scores = [None] * len(group.completions)
    if scorer is not None:
        scorer.submit(group)
        scores = [score.value for score in scorer.results()[0].scores or ()]  # type: ignore[misc]
    return [
        {
            "index": index,
            "example_id": example.id,
            "block": example.block or example.id,
            "decoding": decoding,
            "sample": place,
            **completion_columns(completion),
            **{column: metric.value(completion, example) for column, metric in metrics.items() if metric.value},
            "reward": value,
        }
        for place, (completion, value) in enumerate(zip(group.completions, scores, strict=True))
    ]


def per_example(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[int, float]:
    """Place in the data -> the metric; an example to which it does not apply is left out."""
    found_in = figure(metric)
    reduce = METRICS[found_in.base].samples if found_in.base in METRICS else np.mean
    values: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        value = row.get(found_in.column)  # a run that was recorded before the metric was known has no such column
        if row["decoding"] == found_in.decoding and value is not None:
            values[row["index"]].append(value)
    return {example: float(reduce(found)) for example, found in values.items()}


def summarize(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, float]:
    """Metric -> mean over examples, for each metric that applies to at least one."""
    found = {metric: per_example(rows, metric) for metric in metrics}
    return {metric: float(np.mean(list(values.values()))) for metric, values in found.items() if values}


def difference(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], metric: str
) -> dict[str, Any] | None:
    """Mean paired difference over examples and its 95 % interval: Student's t over independent blocks."""
    first, second = per_example(before, metric), per_example(after, metric)
    shared = [example for example in first if example in second]
    if not shared:
        return None
    blocks = {row["index"]: row["block"] for row in after}
    changes = np.array([[second[example] - first[example], 1.0] for example in shared])
    sums = block_sums(changes, [blocks[example] for example in shared])
    return {"mean": float(ratio(sums.sum(axis=0))), "ci95": block_interval(sums), "num_blocks": len(sums)}


def level(rows: Sequence[Mapping[str, Any]], metric: str) -> list[float | None]:
    """The 95 % interval of a metric's mean over examples: Student's t over independent blocks."""
    values = per_example(rows, metric)
    blocks = {row["index"]: row["block"] for row in rows}
    sums = block_sums(np.array([[value, 1.0] for value in values.values()]), [blocks[example] for example in values])
    return block_interval(sums)


def report(stages: Mapping[str, Sequence[Mapping[str, Any]]], metrics: Sequence[str]) -> dict[str, Any]:
    """The content of evaluation.json: each stage's metrics with intervals, and the difference of the last two."""
    names = list(stages)
    last = stages[names[-1]]
    result: dict[str, Any] = {
        "schema": 1,
        "num_examples": len({row["index"] for row in last}),
        "num_blocks": len({row["block"] for row in last}),
        "stages": {name: summarize(rows, metrics) for name, rows in stages.items()},
        "difference": {},
    }
    result["ci95"] = {
        name: {metric: level(stages[name], metric) for metric in found} for name, found in result["stages"].items()
    }
    if len(names) > 1:
        for metric in metrics:
            found = difference(stages[names[-2]], last, metric)
            if found is not None:
                result["difference"][metric] = {**found, "from": names[-2], "to": names[-1]}
    return result
