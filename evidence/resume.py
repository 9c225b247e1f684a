"""`make evidence-resume`: a run killed at random instants ends, bit by bit, as one that never stopped.

For each algorithm one undisturbed run of a small configuration with a two-epoch window; then runs whose process gets
SIGKILL at an instant that is uniform over the undisturbed run's CPU seconds (the clock would depend on what else the
machine does), and which `groundrl resume` goes on with, until there were 20 kills. The first kill is inside a
checkpoint's write. At each end the SHA-256 of the final weights, the metrics without their timing, and every recorded
completion are compared. Processes are forked from one that has only imported the libraries.
Writes `runs/evidence/resume.json` and prints the table of BENCHMARKS.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import psutil  # accelerate needs it too
import torch
import typer

from groundrl.experiments.cli.main import main as main_command
from groundrl.experiments.runs.reader import Run
from groundrl.rollout.io.records import read_lines, write_text

SMALL = {
    "audit": "off",
    "data.test": "null",
    "hardware.threads": "1",
    "stages.sft.steps": "6",
    "stages.sft.batch_size": "4",
    "stages.sft.checkpoint_every": "2",
    "stages.rl.steps": "9",
    "stages.rl.epochs": "2",
    "stages.rl.prompts_per_step": "2",
    "stages.rl.group_size": "4",
    "stages.rl.max_new_tokens": "24",
    "stages.rl.checkpoint_every": "3",
    "stages.rl.kl_coef": "0.01",
}
ALGORITHMS = {"grpo": "quickstart", "ppo": "ppo"}  # and its recipe
POLL = 0.01  # seconds
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload([f"groundrl.experiments.{name}" for name in ("runs.pipeline", "runs.train", "cli.main")])


def arguments(folder: Path, algorithm: str) -> list[str]:
    """Of `groundrl train`, or of `groundrl resume` where the run's folder is there."""
    if folder.exists():
        return ["resume", str(folder)]
    overrides = [f"{key}={value}" for key, value in {**SMALL, "name": folder.name}.items()]
    return ["train", ALGORITHMS[algorithm], "--runs", str(folder.parent), *overrides]


def command(argv: list[str], log: Path, dies: bool) -> None:
    """What a process of its own does: the command line, or, where it dies, that until half of a state is written."""
    with log.open("a") as output, redirect_stdout(output), redirect_stderr(output):
        sys.argv = ["groundrl", *argv]
        if dies:
            torch.save = half(torch.save)
        main_command()


def half(write: Callable[..., None]) -> Callable[..., None]:
    """torch.save that dies in the middle of the state of RL's step 6."""

    def save(state: dict[str, Any], path: Path) -> None:
        write(state, path)
        if state["step"] == 6 and path.parents[1].name == "rl":
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    return save


def live(folder: Path, algorithm: str, *, seconds: float = math.inf, dies: bool = False) -> tuple[bool, float]:
    """One life of the run, killed after so many CPU seconds; whether it came to its end, and the seconds it took."""
    log = folder.with_suffix(".log")
    process = forks.Process(target=command, args=(arguments(folder, algorithm), log, dies))
    process.start()
    used = 0.0
    while process.exitcode is None:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            used = sum(psutil.Process(process.pid).cpu_times()[:2])
        if used >= seconds:
            process.kill()
        process.join(POLL)
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{folder} failed with {process.exitcode}:\n{log.read_text()}")
    return process.exitcode == 0, used


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
    _, whole = live(straight, algorithm)
    expected = outcome(straight)
    killed: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    while len(killed) < kills or not ends[-1]["complete"]:
        if not ends or ends[-1]["complete"]:
            ends.append({"complete": False, "kills": 0})
        run = folder / f"{algorithm}-{len(ends)}"
        dies = not killed
        seconds = rng.uniform(0, whole) if killed and len(killed) < kills else math.inf
        complete, used = live(run, algorithm, seconds=seconds, dies=dies)
        if complete:
            ends[-1] |= {"complete": True, **{name: sha == expected[name] for name, sha in outcome(run).items()}}
            shutil.rmtree(run)
        else:
            ends[-1]["kills"] += 1
            index = "in a checkpoint's write" if dies else reached(run)
            killed.append({"run": len(ends), "seconds": used, "place": index})
            print(f"{algorithm}: kill {len(killed)}, {index}", flush=True)
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
    work.mkdir(parents=True)
    rng = random.Random(seed)
    results = {algorithm: kill_runs(algorithm, kills, work, rng) for algorithm in ALGORITHMS}
    write_text(json.dumps({"schema": 1, "seed": seed, "algorithms": results}, indent=2) + "\n", folder / "resume.json")
    print(table(results))
    ends = [run for result in results.values() for run in result["runs"]]
    if not all(run["weights"] and run["metrics"] and run["completions"] for run in ends):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
