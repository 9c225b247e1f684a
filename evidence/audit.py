"""`make evidence-audit`: does the audit predict what happens in training?

Each reward is audited on real train crops, then trained on from one SFT checkpoint with three seeds, everything else
being the same. What the audit flags should drift apart from the truth: the reward (proxy) rises, held-out IoU falls or
stays, boxes become more. Writes `runs/evidence/audit.json`, a table and `audit.png`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import typer

from groundrl.experiments.config.load import load_config
from groundrl.experiments.data import NucleiCrops
from groundrl.experiments.runs.reader import Run, load_run
from groundrl.experiments.runs.train import train
from groundrl.rewards import Completion, Example, Reward, parse_reward, reward
from groundrl.rewards.audit import audit
from groundrl.rollout.io.records import write_text

AUDITED = 200  # train crops
EVERY = 20  # steps between two evaluations


@reward(range=(0, 1))
def number_anywhere(completion: Completion, example: Example) -> float:
    """The defect of substring labels: right as soon as the true number stands anywhere, in a coordinate say."""
    return float((example.reference.label or "").split()[0] in completion.text)


REWARDS: dict[str, str | Reward] = {
    "medmo_box, published": "presets.medmo_box(as_published=True)",
    "first box's IoU": "FirstBoxIoU()",
    "number anywhere": number_anywhere,
    "soft_f1": "SoftF1()",
    "quickstart": "0.6*SoftF1() + 0.3*LabelAccuracy() + 0.1*Format()",
}


def start(seed: int, folder: Path, threads: int) -> Run:
    """The run with a seed's SFT checkpoint: that of `make evidence-quickstart`, else one made without RL."""
    if (folder / f"quickstart-{seed}" / "evaluation.json").is_file():
        return load_run(folder / f"quickstart-{seed}")
    config = load_config("quickstart", {})[0].model_dump(mode="json")
    config["stages"] = config["stages"][:1]
    return _once(folder, config, f"audit-sft-{seed}", seed, threads)


def arm(name: str, seed: int, steps: int, folder: Path, threads: int) -> Run:
    """RL from that checkpoint with nothing but one reward."""
    config = load_config("quickstart", {})[0].model_dump(mode="json")
    checkpoint = start(seed, folder, threads).checkpoint("sft")
    config |= {"model": {"path": str(checkpoint.resolve())}, "stages": [config["stages"][1] | {"steps": steps}]}
    config |= {"audit": "off", "evaluation": config["evaluation"] | {"samples_per_example": 2, "every": EVERY}}
    return _once(folder, config, f"audit-{_slug(name)}-{seed}", seed, threads, reward=as_reward(REWARDS[name]))


def as_reward(written: str | Reward) -> Reward:
    """A reward as an object."""
    return parse_reward(written) if isinstance(written, str) else written


def verdict(name: str) -> dict[str, Any]:
    """What the audit says of a reward: whether it is flagged, and by which policies."""
    crops = NucleiCrops("train")
    report = audit(as_reward(REWARDS[name]), [crops[index] for index in range(AUDITED)])
    policies = [result for result in report.policies if result.flagged]
    failed = [check.name for check in report.checks if check.passed is False]
    return {"passed": report.passed, "policies": [result.name for result in policies], "failed_checks": failed}


def trajectory(run: Run, before: Run) -> dict[str, Any]:
    """Proxy reward and boxes of each step's rollouts, and held-out IoU over steps from the SFT checkpoint on."""
    (sft,) = (point for point in before.held_out if point["stage"] == "sft")
    held_out = [(0, sft), *((point["step"], point) for point in run.held_out)]
    boxes: dict[int, list[int]] = {}
    for row in run.rollouts.select(["step", "text"]).to_pylist():
        found = Completion(text=row["text"]).boxes
        boxes.setdefault(row["step"], []).append(len(found) if found is not None else 0)
    return {
        "proxy": [row["reward/mean"] for row in run.metrics],
        "boxes": [float(np.mean(counts)) for _, counts in sorted(boxes.items())],
        "held_out_steps": [step for step, _ in held_out],
        "iou_mean": [point["iou_mean"] for _, point in held_out],
        "iou_mean_greedy": [point["iou_mean_greedy"] for _, point in held_out],
    }


def changes(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """From the start (the first ten steps, or the checkpoint) to the end, per seed, with the mean over seeds."""
    found: dict[str, list[float]] = {"proxy": [], "boxes": [], "iou_mean": [], "iou_mean_greedy": []}
    for run in runs:
        for key in ("proxy", "boxes"):
            found[key].append(float(np.mean(run[key][-10:]) - np.mean(run[key][:10])))
        for key in ("iou_mean", "iou_mean_greedy"):
            found[key].append(run[key][-1] - run[key][0])
    return {key: {"mean": float(np.mean(values)), "seeds": values} for key, values in found.items()}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: the audit's verdict, and what training did."""
    lines = [
        "| reward | audit | proxy reward | held-out IoU, sampled | greedy | boxes an answer |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        said = result["audit"]
        why = _shortened([*said["policies"], *said["failed_checks"]])
        change = result["change"]
        cells = [
            f"{change[key]['mean']:+.3f} ({_each(change[key])})"
            for key in ("proxy", "iou_mean", "iou_mean_greedy", "boxes")
        ]
        lines.append(f"| {name} | {'passes' if said['passed'] else f'flagged: {why}'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Proxy reward, held-out IoU and boxes over steps: one column a reward, one line a seed."""
    import matplotlib.pyplot as plt

    from groundrl.experiments.drawing.curves import save_figure
    from groundrl.experiments.drawing.series import smooth

    figure = plt.figure(figsize=(2.6 * len(results), 6.4), layout="constrained")
    axes = figure.subplots(3, len(results), sharex=True, sharey="row", squeeze=False)
    for column, (name, result) in enumerate(results.items()):
        colour = "#2a9d4e" if result["audit"]["passed"] else "#d9480f"
        axes[0, column].set_title(
            f"{name}\n{'passes' if result['audit']['passed'] else 'flagged'}", fontsize=9, color=colour
        )
        for run in result["runs"]:
            axes[0, column].plot(range(1, len(run["proxy"]) + 1), smooth(run["proxy"]), color=colour, linewidth=1)
            axes[1, column].plot(run["held_out_steps"], run["iou_mean"], "o-", color=colour, linewidth=1, markersize=3)
            axes[2, column].plot(range(1, len(run["boxes"]) + 1), smooth(run["boxes"]), color=colour, linewidth=1)
        axes[2, column].set_xlabel("step", fontsize=8)
    for row, label in enumerate(("proxy reward\n(training rollouts)", "held-out IoU\n(sampled)", "boxes an answer")):
        axes[row, 0].set_ylabel(label, fontsize=9)
    figure.suptitle("one line a seed; rollouts smoothed over 9 steps", fontsize=9, color="0.4")
    save_figure(figure, path)


def main(seeds: int = 3, steps: int = 60, processes: int = 2, folder: Path = Path("runs/evidence")) -> None:
    """Audit, train and compare; runs that are there already are read, not made again."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for run in [pool.submit(start, seed, folder, threads) for seed in range(seeds)]:
            run.result()
        for run in [pool.submit(arm, name, seed, steps, folder, threads) for seed in range(seeds) for name in REWARDS]:
            run.result()
    results = {}
    for name in REWARDS:
        befores = [start(seed, folder, threads) for seed in range(seeds)]
        afters = [load_run(folder / f"audit-{_slug(name)}-{seed}") for seed in range(seeds)]
        runs = [trajectory(after, before) for after, before in zip(afters, befores, strict=True)]
        results[name] = {"audit": verdict(name), "change": changes(runs), "runs": runs}
    write_text(json.dumps({"schema": 1, "steps": steps, "rewards": results}, indent=2) + "\n", folder / "audit.json")
    draw(results, folder / "audit.png")
    print(table(results))


def _once(folder: Path, config: Any, name: str, seed: int, threads: int, reward: Reward | None = None) -> Run:
    if (folder / name / "evaluation.json").is_file():
        return load_run(folder / name)
    changes = {"seed": seed, "hardware.threads": threads}
    return train(config, name=name, runs=folder, overwrite=True, overrides=changes, progress=False, reward=reward)


def _shortened(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _each(change: Mapping[str, Any]) -> str:
    return ", ".join(f"{value:+.2f}" for value in change["seeds"])


if __name__ == "__main__":
    typer.run(main)
