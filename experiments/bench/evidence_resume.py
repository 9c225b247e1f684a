"""`make evidence-resume`: a run killed at random instants ends, bit by bit, as one that never stopped.

For each algorithm one undisturbed run of a small configuration with a two-epoch window; then runs whose process gets
SIGKILL at an instant that is uniform over the undisturbed run's seconds, start-up included, and which `groundrl resume`
goes on with, until there were 20 kills. The first kill is inside the write of a checkpoint. At each end the SHA-256 of
the final weights, the metrics without their timing, and every recorded completion are compared.
Writes `runs/evidence/resume.json` and prints the table of BENCHMARKS.md.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import typer

from groundrl.experiments.run import Run
from groundrl.rollout.records import read_lines, write_text

SMALL = {
    "data.test": "null",
    "hardware.threads": "1",
    "stages.sft.steps": "6",
    "stages.sft.batch_size": "8",
    "stages.sft.checkpoint_every": "2",
    "stages.rl.steps": "12",
    "stages.rl.epochs": "2",
    "stages.rl.prompts_per_step": "4",
    "stages.rl.group_size": "4",
    "stages.rl.max_new_tokens": "32",
    "stages.rl.checkpoint_every": "3",
    "stages.rl.kl_coef": "0.01",
}
ALGORITHMS: dict[str, dict[str, str]] = {"grpo": {}}
DIES_IN_A_CHECKPOINT = """
import os, signal, torch
from groundrl.experiments.cli import main

write = torch.save

def half(state, path):
    write(state, path)
    if "step-000006" in str(path) and state["step"] == 6 and path.parent.parent.name == "rl":
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = half
main()
"""


def command(folder: Path, algorithm: str, *, dies: bool = False) -> list[str]:
    """`groundrl train`, or `groundrl resume` where the run's folder is there."""
    program = ["-c", DIES_IN_A_CHECKPOINT] if dies else ["-m", "groundrl.experiments.cli"]
    if folder.exists():
        return [sys.executable, *program, "resume", str(folder)]
    keys = {**SMALL, **ALGORITHMS[algorithm], "name": folder.name}
    overrides = [f"{key}={value}" for key, value in keys.items()]
    return [sys.executable, *program, "train", "quickstart", "--runs", str(folder.parent), *overrides]


def live(folder: Path, algorithm: str, *, seconds: float | None = None, dies: bool = False) -> bool:
    """One life of the run, killed after so many seconds; whether it came to its end."""
    process = subprocess.Popen(
        command(folder, algorithm, dies=dies), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    if process.returncode not in (0, -9):
        raise RuntimeError(f"{folder} failed with {process.returncode}:\n{output}")
    return process.returncode == 0


def outcome(folder: Path) -> dict[str, str]:
    """SHA-256 of what a run leaves: weights, metrics without timing, completions."""
    run = Run(folder)
    timing = ("seconds/", "tokens_per_second")
    metrics = [{key: row[key] for key in row if not key.startswith(timing)} for row in run.metrics]
    left = {
        "weights": (run.checkpoint("rl") / "model.safetensors").read_bytes(),
        "metrics": json.dumps(metrics).encode(),
        "completions": json.dumps(run.rollouts.to_pylist()).encode(),
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in left.items()}


def reached(folder: Path) -> str:
    """Where a kill found the run: the step after the last recorded one, or `start` before its folder was there."""
    if not folder.exists():
        return "start"
    rows = list(read_lines(folder / "metrics.jsonl"))
    return f"after {rows[-1]['stage']} {rows[-1]['stage_step']}" if rows else "before the first step"


def kill_runs(algorithm: str, kills: int, folder: Path, rng: random.Random) -> dict[str, Any]:
    """The undisturbed run, the kills with their seconds and places, and the outcome of each run that was killed."""
    straight = folder / f"{algorithm}-straight"
    started = time.perf_counter()
    live(straight, algorithm)
    whole = time.perf_counter() - started
    expected = outcome(straight)
    killed: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    while len(killed) < kills or not ends[-1]["complete"]:
        if not ends or ends[-1]["complete"]:
            ends.append({"complete": False, "kills": 0})
        run = folder / f"{algorithm}-{len(ends)}"
        dies = not killed
        seconds = rng.uniform(0, whole) if killed and len(killed) < kills else None
        if live(run, algorithm, seconds=seconds, dies=dies):
            ends[-1] |= {"complete": True, **{name: sha == expected[name] for name, sha in outcome(run).items()}}
            shutil.rmtree(run)
        else:
            ends[-1]["kills"] += 1
            place = "in a checkpoint's write" if dies else reached(run)
            killed.append({"run": len(ends), "seconds": seconds, "place": place})
            print(f"{algorithm}: kill {len(killed)}, {place}", flush=True)
    return {"seconds": whole, "expected": expected, "kills": killed, "runs": ends}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: how many runs of each algorithm, killed how often, ended as the undisturbed one."""
    lines = [
        "| algorithm | kills | runs | same weights | same metrics | same completions | SHA-256 of the weights |",
        "|---|---|---|---|---|---|---|",
    ]
    for algorithm, result in results.items():
        runs = [run for run in result["runs"] if run["kills"]]
        same = [f"{sum(run[what] for run in runs)} of {len(runs)}" for what in ("weights", "metrics", "completions")]
        cells = [algorithm, str(len(result["kills"])), str(len(runs)), *same, result["expected"]["weights"][:16]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(kills: int = 20, seed: int = 0, folder: Path = Path("runs/evidence")) -> None:
    """Kill runs of each algorithm; exit code 1 where one of them ended otherwise."""
    work = folder / "resume"
    shutil.rmtree(work, ignore_errors=True)
    rng = random.Random(seed)
    results = {algorithm: kill_runs(algorithm, kills, work, rng) for algorithm in ALGORITHMS}
    write_text(json.dumps({"schema": 1, "seed": seed, "algorithms": results}, indent=2) + "\n", folder / "resume.json")
    print(table(results))
    ends = [run for result in results.values() for run in result["runs"]]
    if not all(run["weights"] and run["metrics"] and run["completions"] for run in ends):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
