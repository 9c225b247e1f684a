"""Two evaluations of the same data, example by example: which figures differ, and which predictions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float

from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.evals.tables import shown, table
from groundrl.experiments.metrics import RENAMED, Metric
from groundrl.experiments.metrics.own import recorded
from groundrl.rewards.core.intervals import block_interval, block_sums
from groundrl.rollout.io.records import write_text

TIE = 1e-3  # nats: two tokens this near in log-probability may change places with the order of a sum
Key = tuple[str, str, int]


def compare_evaluations(first: Path, second: Path) -> dict[str, Any]:
    """`second` minus `first`: each metric's paired difference over the examples that both have, and how many
    predictions are equal, differ only by a numerical tie, or differ.

    A tie: up to the first token that differs both are the same, and there both took tokens of the same log-probability
    to within `TIE`. A prediction without log-probs (an endpoint's) that differs is no tie.
    """
    evaluations = [_content(folder) for folder in (first, second)]
    own = {**evaluations[0].get("metrics", {}), **evaluations[1].get("metrics", {})}
    metrics = recorded({"metrics": own})
    scores = [_scores(folder) for folder in (first, second)]
    shared = [key for key in scores[0] if key in scores[1]]
    if not shared:
        raise ConfigError(f"{first} and {second} have no example in common")
    datasets = {}
    for name in dict.fromkeys(dataset for dataset, *_ in shared):
        keys = [key for key in shared if key[0] == name]
        differences = dict(_differences([[side[key] for key in keys] for side in scores], metrics))
        predictions = _predictions(first / "rows" / name, second / "rows" / name)
        datasets[name] = {"examples": len(keys), "metrics": differences, "predictions": predictions}
    return {
        "schema": 1,
        "from": {"folder": str(first), "model": evaluations[0]["model"]},
        "to": {"folder": str(second), "model": evaluations[1]["model"]},
        **({"metrics": own} if own else {}),
        "datasets": datasets,
    }


def comparison_markdown(content: Mapping[str, Any]) -> str:
    """The comparison for a person."""
    metrics = recorded(content)
    lines = [
        f"# {content['to']['model']} minus {content['from']['model']}",
        "",
        f"`{content['to']['folder']}` minus `{content['from']['folder']}`, paired by example; 95 % interval: "
        "Student's t over independent blocks (fewer than 5: *, not to be trusted). "
        "An interval without 0 is more than chance.",
        "",
    ]
    rows = [
        [name, metric, *shown(metrics[metric], found, signed=True)]
        for name, each in content["datasets"].items()
        for metric, found in each["metrics"].items()
    ]
    lines += table(["data set", "metric", "difference", "95 %", "n", "blocks"], rows)
    lines += ["", "Predictions:", ""]
    counts = [
        [name, *(str(each["predictions"][kind]) for kind in ("equal", "tied", "different"))]
        for name, each in content["datasets"].items()
    ]
    lines += table(["data set", "equal", "differ by a numerical tie", "different"], counts)
    return "\n".join(lines) + "\n"


def write_comparison(content: Mapping[str, Any], folder: Path) -> None:
    """comparison.json and comparison.md."""
    write_text(json.dumps(content, indent=2) + "\n", folder / "comparison.json")
    write_text(comparison_markdown(content), folder / "comparison.md")


def _content(folder: Path) -> dict[str, Any]:
    file = folder / "evaluation.json"
    if not file.is_file() or not (folder / "scores.parquet").is_file():
        raise ConfigError(f"{folder} is no finished evaluation: it has no evaluation.json and scores.parquet")
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def _scores(folder: Path) -> dict[Key, dict[str, Any]]:
    """Each example's row by data set and id; one id several times is told apart by its order."""
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for row in pq.ParquetFile(folder / "scores.parquet").read().to_pylist():
        name = row["dataset"], row["example_id"]
        found[*name, seen[name]] = {RENAMED.get(column, column): value for column, value in row.items()}
        seen[name] += 1
    return found


def _differences(
    sides: list[list[dict[str, Any]]], metrics: Mapping[str, Metric]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each metric that both sides have, over the examples to which it applies in both."""
    for name, metric in metrics.items():
        pairs = [
            (a[name], b[name], a["block"])
            for a, b in zip(*sides, strict=True)
            if a.get(name) is not None and b.get(name) is not None and len(a[name]) == len(b[name])
        ]
        if pairs:
            yield name, _difference(metric, pairs)


def _difference(metric: Metric, pairs: list[tuple[list[float], list[float], str]]) -> dict[str, Any]:
    width = len(pairs[0][0])
    sums = block_sums(np.array([[*a, *b] for a, b, _ in pairs]), [block for _, _, block in pairs])

    def figure(both: Float[np.ndarray, "*R S"]) -> Float[np.ndarray, "*R"]:
        return np.asarray(metric.figure(both[..., width:]) - metric.figure(both[..., :width]))

    value = float(figure(sums.sum(axis=0)))
    return {"value": value, "ci95": block_interval(sums, figure), "n": len(pairs), "num_blocks": len(sums)}


def _predictions(first: Path, second: Path) -> dict[str, int]:
    sides = [
        {
            (row["index"], row["example_id"]): row
            for part in sorted(folder.glob("part-*.parquet"))
            for row in pq.ParquetFile(part).read().to_pylist()
            if row["error"] is None
        }
        for folder in (first, second)
    ]
    kinds = Counter(_kind(row, sides[1][key]) for key, row in sides[0].items() if key in sides[1])
    return {kind: kinds[kind] for kind in ("equal", "tied", "different")}


def _kind(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    if first["text"] == second["text"]:
        return "equal"
    tokens = zip(first["token_ids"], second["token_ids"], first["logprobs"], second["logprobs"], strict=False)
    gap = next((abs(p - q) for a, b, p, q in tokens if a != b), None)
    return "tied" if gap is not None and gap <= TIE else "different"
