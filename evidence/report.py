"""`make evidence-report`: does a reward of checkable facts lift held-out fact F1? The recipe `report` over seeds.

From the end of SFT on rendered cells to the end of GRPO on real crops, on 256 real test crops; intervals over tiles.
Writes `runs/evidence/report.json` and prints the table of BENCHMARKS.md.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import typer

from groundrl.experiments.runs.reader import Run, load_run
from groundrl.experiments.runs.train import train
from groundrl.rollout.io.records import write_text

METRICS = ("fact_f1", "fact_f1_greedy", "iou_mean", "iou_mean_greedy", "reward_mean")


def report_run(seed: int, folder: Path, threads: int) -> Run:
    """The recipe of one seed; a run that is already there is read, not made again."""
    name = f"report-{seed}"
    if (folder / name / "evaluation.json").is_file():
        return load_run(folder / name)
    changes = {"seed": seed, "hardware.threads": threads}
    return train("report", name=name, runs=folder, overwrite=True, overrides=changes, progress=False)


def table(evaluations: dict[int, dict[str, Any]]) -> str:
    """Markdown: each seed's metrics before and after, and the paired gain with its interval."""
    lines = ["| seed | metric | after SFT | after GRPO | gain |", "|---|---|---|---|---|"]
    for seed, content in evaluations.items():
        for metric in METRICS:
            found = content["difference"][metric]
            before, after = (content["stages"][found[end]][metric] for end in ("from", "to"))
            low, high = found["ci95"]
            gain = f"{found['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"
            lines.append(f"| {seed} | {metric} | {before:.3f} | {after:.3f} | {gain} |")
    return "\n".join(lines)


def main(seeds: int = 3, processes: int = 1, folder: Path = Path("runs/evidence")) -> None:
    """The seeds 0, 1, ...; the threads are divided between the processes."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(report_run, seed, folder, threads) for seed in range(seeds)]
        evaluations = {seed: run.result().evaluation for seed, run in enumerate(runs)}
    write_text(json.dumps({"schema": 1, "seeds": evaluations}, indent=2) + "\n", folder / "report.json")
    print(table(evaluations))


if __name__ == "__main__":
    typer.run(main)
