"""`make evidence-stages`: what RL gains, against how strong the SFT checkpoint is from which it starts.

Five checkpoints a seed: the quickstart's SFT on rendered cells alone, and 20 to 400 steps of SFT on the true boxes of
real crops. From each the quickstart's RL stage with the same prompts, reward and steps. MedMO's table 4 has three such
points: the box reward adds 4.5 IoU where SFT is weak (8.8), 0.4 where it is strong (38.5 and 54.6). Writes
`evidence/results/stages.json` and `docs/pictures/stages.png`, and prints the table of BENCHMARKS.md.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import typer

from evidence.algorithms import evaluated, interval
from groundrl.experiments.config.load import load_config
from groundrl.experiments.recording.evaluation import difference, summarize
from groundrl.experiments.runs.reader import load_run
from groundrl.experiments.runs.train import train
from groundrl.rollout.io.records import write_text

METRICS = ("iou_mean", "iou_mean_greedy")
REAL_STEPS = (0, 20, 60, 150, 400)  # of SFT on real crops; 0 is SFT on rendered cells
HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "pictures" / "stages.png"


def arm(real_steps: int, seed: int, steps: int | None, folder: Path, threads: int) -> None:
    """SFT to this strength, then RL; a run that is already there stays."""
    name = f"stages-{real_steps}-{seed}"
    if (folder / name / "evaluation.json").is_file():
        return
    config = load_config("quickstart", {})[0].model_dump(mode="json")
    if real_steps:
        config["stages"][0] |= {"steps": real_steps, "data": {"train": "nuclei/train"}}
    if steps is not None:
        config["stages"][1]["steps"] = steps
    changes = {"seed": seed, "hardware.threads": threads, "audit": "off"}
    train(config, name=name, runs=folder, overwrite=True, overrides=changes, progress=False)


def summary(real_steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """Before and after RL, and the gain with its interval over blocks of the test crops."""
    run = load_run(folder / f"stages-{real_steps}-{seed}")
    before, after = evaluated(run, "sft"), evaluated(run, "rl")
    return {
        "real_steps": real_steps,
        "seed": seed,
        "rl_steps": run.config.stages[1].steps,
        "before": summarize(before, METRICS),
        "after": summarize(after, METRICS),
        "gain": {metric: difference(before, after, metric) for metric in METRICS},
    }


def table(points: list[dict[str, Any]]) -> str:
    """Markdown: a row a checkpoint."""
    lines = ["| SFT on real crops, steps | seed | sampled, before | RL adds | greedy, before | RL adds |"]
    lines.append("|---|---|---|---|---|---|")
    for point in points:
        cells: list[str] = []
        for metric in METRICS:
            cells += [f"{point['before'][metric]:.3f}", interval(point["gain"][metric])]
        lines.append(f"| {point['real_steps'] or 'none'} | {point['seed']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(points: list[dict[str, Any]], path: Path) -> None:
    """What RL adds against the IoU before it, each checkpoint of each seed with its interval."""
    import matplotlib.pyplot as plt

    from groundrl.experiments.drawing.curves import save_figure

    figure, panels = plt.subplots(2, 1, figsize=(6, 6.4), sharex=True, layout="constrained")
    for panel, metric, title in zip(panels, METRICS, ("sampled at T = 1", "greedy"), strict=True):
        for seed in sorted({point["seed"] for point in points}):
            own = [point for point in points if point["seed"] == seed]
            gains = [point["gain"][metric] for point in own]
            means = [gain["mean"] for gain in gains]
            bars = [
                [gain["mean"] - gain["ci95"][0] for gain in gains],
                [gain["ci95"][1] - gain["mean"] for gain in gains],
            ]
            before = [point["before"][metric] for point in own]
            panel.errorbar(before, means, yerr=bars, fmt="o", markersize=4, linewidth=1, label=f"seed {seed}")
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.set_ylabel("IoU that RL adds")
        panel.set_title(title)
    panels[1].set_xlabel("IoU of the SFT checkpoint")
    panels[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def main(
    seeds: int = 3,
    processes: int = 1,
    steps: int | None = None,
    folder: Path = Path("runs/evidence"),
    results: Path = HERE / "results",
    picture: Path = PICTURE,
) -> None:
    """Train what is not there yet, then report; the threads are divided between the processes."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        wanted = [(real, seed) for seed in range(seeds) for real in REAL_STEPS]
        for run in [pool.submit(arm, real, seed, steps, folder, threads) for real, seed in wanted]:
            run.result()
    points = [summary(real, seed, folder) for real in REAL_STEPS for seed in range(seeds)]
    write_text(json.dumps({"schema": 1, "points": points}, indent=2) + "\n", results / "stages.json")
    draw(points, picture)
    print(table(points))


if __name__ == "__main__":
    typer.run(main)
