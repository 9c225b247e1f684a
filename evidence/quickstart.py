"""`make evidence-quickstart`: the quickstart over seeds 0 to 4 with two controls of the same wall-clock.

From the end of each seed's SFT stage: GRPO on real crops with nothing but the score; `more_sft`, which goes on with
rendered cells; `sft_on_real`, which imitates the true boxes of the same real crops. Every arm is evaluated on the same
256 real test crops. Writes `runs/evidence/quickstart.json` and prints the table of BENCHMARKS.md.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import typer

from groundrl.experiments.data.shipped.crops import COUNTS
from groundrl.experiments.recording.evaluation import difference, summarize
from groundrl.experiments.runs.reader import Run, load_run
from groundrl.experiments.runs.train import train
from groundrl.rollout.io.records import write_text

METRICS = ("iou_mean", "iou_mean_greedy", "iou_mean_cool", "iou_best_of_n", "label_accuracy", "reward_mean")
CONTROLS = {"more_sft": "cells/rendered", "sft_on_real": "nuclei/train"}


def quickstart(seed: int, folder: Path, threads: int) -> Run:
    """The quickstart of one seed; a run that is already there is read, not made again."""
    return _once(folder, "quickstart", f"quickstart-{seed}", {"seed": seed, "hardware.threads": threads})


def control(name: str, seed: int, folder: Path, threads: int) -> Run:
    """A control of one seed: from its SFT checkpoint, as many steps as take the wall-clock of its RL stage."""
    run = quickstart(seed, folder, threads)
    rl_seconds = sum(row["seconds/step"] for row in run.metrics if row["stage"] == "rl")
    sft_step = statistics.median(row["seconds/step"] for row in run.metrics if row["stage"] == "sft")
    stage = {"name": name, "kind": "sft", "data": {"train": CONTROLS[name]}, "batch_size": 64, "lr": 5e-4}
    config = {
        "name": f"{name}-{seed}",
        "seed": seed + 100,  # fresh samples: the SFT stage has seen those of `seed`
        "model": {"path": str(run.checkpoint("sft").resolve())},
        "data": {"test": "nuclei/test"},
        "rewards": run.config.rewards,
        "reward": run.config.reward,
        "stages": [{**stage, "steps": round(rl_seconds / sft_step)}],
        "evaluation": run.config.evaluation.model_dump(mode="json"),
    }
    return _once(folder, config, f"{name}-{seed}", {"hardware.threads": threads})


def summary(seed: int, folder: Path) -> dict[str, Any]:
    """What the arms of one seed that are there show."""
    run = load_run(folder / f"quickstart-{seed}")
    arms = {"sft": _rows(run, "sft"), "rl": _rows(run, "rl")}
    done = [name for name in CONTROLS if (folder / f"{name}-{seed}" / "evaluation.json").is_file()]
    arms |= {name: _rows(load_run(folder / f"{name}-{seed}"), name) for name in done}
    return {
        "seed": seed,
        "rl_seconds": sum(row["seconds/step"] for row in run.metrics if row["stage"] == "rl"),
        "control_steps": {name: load_run(folder / f"{name}-{seed}").config.stages[0].steps for name in done},
        "metrics": {name: summarize(rows, METRICS) for name, rows in arms.items()},
        "greedy_iou_by_count": {name: by_count(rows) for name, rows in arms.items()},
        "difference_from_sft": {
            name: {metric: difference(arms["sft"], rows, metric) for metric in METRICS}
            for name, rows in arms.items()
            if name != "sft"
        },
        "rl_minus_control": {
            name: {metric: difference(arms[name], arms["rl"], metric) for metric in METRICS} for name in done
        },
    }


def by_count(rows: list[dict[str, Any]]) -> list[float]:
    """Greedy IoU of the test crops with 0, 1, 2, 3 and 4 nuclei."""
    greedy = [row for row in rows if row["decoding"] == "greedy"]
    return [statistics.mean(row["iou"] for row in greedy if row["index"] % COUNTS == count) for count in range(COUNTS)]


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: each seed's arms, and what RL gained from the end of SFT with its interval."""
    lines = [
        "| seed | arm | sampled | greedy | T = 0.5 | best of 8 | gain, sampled | gain, greedy | greedy, 0 to 4 nuclei |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for result in results:
        for arm, values in result["metrics"].items():
            figures = [f"{values[metric]:.3f}" for metric in METRICS[:4]]
            gains = result["difference_from_sft"].get(arm)
            gained = [_interval(gains[metric]) if gains else "" for metric in METRICS[:2]]
            counts = ", ".join(f"{value:.2f}" for value in result["greedy_iou_by_count"][arm])
            lines.append(f"| {result['seed']} | {arm} | {' | '.join([*figures, *gained, counts])} |")
    return "\n".join(lines)


def controls_table(results: list[dict[str, Any]]) -> str:
    """Markdown: RL minus each control on the same crops, for the seeds whose controls are there."""
    lines = ["| seed | " + " | ".join(f"minus `{name}`, sampled | greedy" for name in CONTROLS) + " | steps of each |"]
    lines.append("|---" * (2 * len(CONTROLS) + 2) + "|")
    for result in results:
        if set(result["rl_minus_control"]) == set(CONTROLS):
            found = [_interval(result["rl_minus_control"][name][metric]) for name in CONTROLS for metric in METRICS[:2]]
            steps = ", ".join(str(result["control_steps"][name]) for name in CONTROLS)
            lines.append(f"| {result['seed']} | {' | '.join(found)} | {steps} |")
    return "\n".join(lines)


def main(seeds: int = 5, processes: int = 1, folder: Path = Path("runs/evidence")) -> None:
    """All quickstarts, then all controls, for the seeds 0, 1, ...; the threads are divided between the processes."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for run in [pool.submit(quickstart, seed, folder, threads) for seed in range(seeds)]:
            run.result()
        _report(seeds, folder)
        for run in [pool.submit(control, name, seed, folder, threads) for seed in range(seeds) for name in CONTROLS]:
            run.result()
    _report(seeds, folder)


def _report(seeds: int, folder: Path) -> None:
    results = [summary(seed, folder) for seed in range(seeds)]
    write_text(json.dumps({"schema": 1, "seeds": results}, indent=2) + "\n", folder / "quickstart.json")
    print(table(results), controls_table(results), sep="\n\n", flush=True)


def _once(folder: Path, config: Any, name: str, overrides: dict[str, Any]) -> Run:
    if (folder / name / "evaluation.json").is_file():
        return load_run(folder / name)
    return train(config, name=name, runs=folder, overwrite=True, overrides=overrides, progress=False)


def _rows(run: Run, stage: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run.folder / "evaluation" / f"{stage}.parquet").to_pylist()
    return rows


def _interval(found: dict[str, Any]) -> str:
    low, high = found["ci95"]
    return f"{found['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    typer.run(main)
