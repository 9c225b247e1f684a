"""`make evidence-algorithms`: GRPO, RLOO, GSPO, Dr.GRPO and PPO, each from the same SFT checkpoints, three seeds.

Data, reward, prompts, sampling noise, learning rate, steps and evaluation are the quickstart's; the advantage and the
objective alone differ. Each arm runs in a process of its own, one at a time, so that its seconds and its peak memory
are its own. Writes `evidence/results/algorithms.json` and prints the table of BENCHMARKS.md.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import typer

from evidence.audit import start
from groundrl.experiments.config.load import load_config
from groundrl.experiments.recording.evaluation import difference, summarize
from groundrl.experiments.runs.reader import Run, load_run
from groundrl.experiments.runs.train import train
from groundrl.rollout.io.records import write_text

RESULTS = Path(__file__).parent / "results"
METRICS = ("iou_mean", "iou_mean_greedy")
ALGORITHMS: dict[str, dict[str, Any]] = {
    "GRPO": {"advantage": "grpo", "objective": "dapo"},  # the quickstart's own
    "RLOO": {"advantage": "rloo", "objective": "dapo"},
    "GSPO": {"advantage": "grpo", "objective": "gspo"},
    "Dr.GRPO": {"advantage": "dr_grpo", "objective": "dr_grpo"},
    "PPO": {"advantage": "gae", "objective": "ppo", "critic": {}},
}


def arm(name: str, seed: int, steps: int | None, folder: Path, threads: int) -> None:
    """One algorithm from a seed's SFT checkpoint, with the peak memory of this process beside the run's files."""
    run_name = f"algorithm-{name}-{seed}"
    if (folder / run_name / "cost.json").is_file():
        return
    config = load_config("quickstart", {})[0].model_dump(mode="json")
    stage = config["stages"][1] | ALGORITHMS[name]
    checkpoint = start(seed, folder, threads).checkpoint("sft")
    config |= {"model": {"path": str(checkpoint.resolve())}, "audit": "off"}
    config["stages"] = [stage | ({"steps": steps} if steps is not None else {})]
    changes = {"seed": seed, "hardware.threads": threads}
    run = train(config, name=run_name, runs=folder, overwrite=True, overrides=changes, progress=False)
    cost = {
        "seconds": sum(row["seconds/step"] for row in run.metrics),
        "update_seconds": statistics.median(row["seconds/update"] for row in run.metrics),
        "peak_memory_bytes": peak_memory(),
        "threads": threads,
    }
    write_text(json.dumps(cost, indent=2) + "\n", run.folder / "cost.json")


def peak_memory() -> int:
    """The most that this process has held: on the CPU all of it, with CUDA what torch has allocated there."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def summary(name: str, seeds: int, folder: Path) -> dict[str, Any]:
    """What an algorithm gained over the SFT checkpoints: each seed, and all together on the same crops."""
    before = [evaluated(start(seed, folder, 1), "sft") for seed in range(seeds)]
    runs = [load_run(folder / f"algorithm-{name}-{seed}") for seed in range(seeds)]
    after = [evaluated(run, "rl") for run in runs]
    costs = [json.loads((run.folder / "cost.json").read_text()) for run in runs]
    return {
        "settings": ALGORITHMS[name],
        "steps": runs[0].config.stages[0].steps,
        "metrics": summarize(pooled(after), METRICS),
        "lift": {metric: difference(pooled(before), pooled(after), metric) for metric in METRICS},
        "lift_by_seed": {
            metric: [difference(one, other, metric) for one, other in zip(before, after, strict=True)]
            for metric in METRICS
        },
        "seconds": statistics.mean(cost["seconds"] for cost in costs),
        "update_seconds": statistics.mean(cost["update_seconds"] for cost in costs),
        "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
    }


def pooled(seeds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The answers of all seeds: an example's mean is then over its seeds too."""
    return [row for rows in seeds for row in rows]


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: the lift with its interval over blocks, each seed's, and what it cost."""
    lines = [
        "| algorithm | IoU, sampled | lift | lift of each seed | IoU, greedy | lift | lift of each seed "
        "| seconds | of an update | peak memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        cells: list[str] = []
        for metric in METRICS:
            seeds = ", ".join(f"{found['mean']:+.3f}" for found in result["lift_by_seed"][metric])
            cells += [f"{result['metrics'][metric]:.3f}", interval(result["lift"][metric]), seeds]
        cells += [f"{result['seconds']:.0f}", f"{result['update_seconds']:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {result['peak_memory_bytes'] / 2**20:.0f} MB |")
    return "\n".join(lines)


def interval(found: dict[str, Any]) -> str:
    """A difference with its 95 % interval."""
    low, high = found["ci95"]
    return f"{found['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"


def main(
    seeds: int = 3, steps: int | None = None, folder: Path = Path("runs/evidence"), results: Path = RESULTS
) -> None:
    """Train what is not there yet, then report; `steps` other than the quickstart's are for a try."""
    threads = os.cpu_count() or 1
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:  # a fresh process for each arm
        for seed in range(seeds):
            pool.submit(start, seed, folder, threads).result()
            for name in ALGORITHMS:
                pool.submit(arm, name, seed, steps, folder, threads).result()
    found = {name: summary(name, seeds, folder) for name in ALGORITHMS}
    content = {"schema": 1, "seeds": seeds, "algorithms": found}
    write_text(json.dumps(content, indent=2) + "\n", results / "algorithms.json")
    print(table(found))


def evaluated(run: Run, stage: str) -> list[dict[str, Any]]:
    """The test answers at the end of a stage."""
    rows: list[dict[str, Any]] = pq.read_table(run.folder / "evaluation" / f"{stage}.parquet").to_pylist()
    return rows


if __name__ == "__main__":
    typer.run(main)
