"""`make evidence-quickstart`: the quickstart over seeds 0 to 4 with two controls of the same wall-clock.

From the end of each seed's SFT stage: GRPO on real crops with nothing but the score; `more_sft`, which goes on with
rendered cells; `sft_on_real`, which imitates the true boxes of the same real crops. Every arm is evaluated on the same
256 real test crops. Writes `runs/evidence/quickstart.json` and prints the table of BENCHMARKS.md.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import typer

from groundrl.experiments.evaluation import difference, summarize
from groundrl.experiments.run import Run, load_run, train
from groundrl.rollout.records import write_text

METRICS = ("iou_mean", "iou_mean_greedy", "iou_mean_cool", "iou_best_of_n", "label_accuracy", "reward_mean")
CONTROLS = {"more_sft": "cells/rendered", "sft_on_real": "nuclei/train"}


def run_seed(seed: int, folder: Path) -> dict[str, Any]:
    """One seed: the quickstart and its controls; an arm that is already there is read, not run again."""
    run = _once(folder, "quickstart", name=f"quickstart-{seed}", seed=seed)
    sft_rows = _rows(run, "sft")
    arms = {"sft": sft_rows, "rl": _rows(run, "rl")}
    rl_seconds = sum(row["seconds/step"] for row in run.metrics if row["stage"] == "rl")
    sft_step = statistics.median(row["seconds/step"] for row in run.metrics if row["stage"] == "sft")
    steps = {}
    for name, source in CONTROLS.items():
        steps[name] = round(rl_seconds / sft_step)
        config: dict[str, Any] = {
            "name": f"{name}-{seed}",
            "seed": seed + 100,  # fresh samples: the SFT stage has seen those of `seed`
            "model": {"path": str(run.checkpoint("sft").resolve())},
            "data": {"test": "nuclei/test"},
            "rewards": run.config.rewards,
            "reward": run.config.reward,
            "stages": [
                {
                    "name": name,
                    "kind": "sft",
                    "data": {"train": source},
                    "steps": steps[name],
                    "batch_size": 64,
                    "lr": 5e-4,
                }
            ],
            "evaluation": run.config.evaluation.model_dump(mode="json"),
        }
        arms[name] = _rows(_once(folder, config, name=config["name"]), name)
    return {
        "seed": seed,
        "rl_seconds": rl_seconds,
        "control_steps": steps,
        "metrics": {name: summarize(rows, METRICS) for name, rows in arms.items()},
        "difference_from_sft": {
            name: {metric: difference(sft_rows, rows, metric) for metric in METRICS}
            for name, rows in arms.items()
            if name != "sft"
        },
        "rl_minus_control": {
            name: {metric: difference(arms[name], arms["rl"], metric) for metric in METRICS} for name in CONTROLS
        },
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: each seed's arms, and what RL gained from the end of SFT with its interval."""
    lines = ["| seed | arm | sampled | greedy | T = 0.5 | best of 8 | from SFT, sampled | from SFT, greedy |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for result in results:
        for arm, values in result["metrics"].items():
            figures = [f"{values[metric]:.3f}" for metric in METRICS[:4]]
            gains = result["difference_from_sft"].get(arm)
            gained = [_interval(gains[metric]) if gains else "" for metric in METRICS[:2]]
            lines.append(f"| {result['seed']} | {arm} | {' | '.join([*figures, *gained])} |")
    return "\n".join(lines)


def main(seeds: int = 5, folder: Path = Path("runs/evidence")) -> None:
    """Run the seeds 0, 1, ... one after the other and print the table."""
    results = [run_seed(seed, folder) for seed in range(seeds)]
    write_text(json.dumps({"schema": 1, "seeds": results}, indent=2) + "\n", folder / "quickstart.json")
    print(table(results))


def _once(folder: Path, config: Any, *, name: str, **keys: Any) -> Run:
    done = (folder / name / "evaluation.json").is_file()
    return load_run(folder / name) if done else train(config, name=name, runs=folder, overwrite=True, **keys)


def _rows(run: Run, stage: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run.folder / "evaluation" / f"{stage}.parquet").to_pylist()
    return rows


def _interval(found: dict[str, Any]) -> str:
    low, high = found["ci95"]
    return f"{found['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    typer.run(main)
