"""Several runs in one figure: arms overlaid, each the mean over its seeds with a 95 % interval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.config.stage import RLStage
from groundrl.experiments.drawing.series import SMOOTHING, part_names, smooth
from groundrl.experiments.runs.reader import RUNS, Run, load_run
from groundrl.rewards.core.intervals import t_interval

Points = dict[int, tuple[float, float]]
AXES = {"step": "step", "samples": "completions sampled", "seconds": "seconds of training"}
FIELDS = {
    "iou": ("rollout/iou_mean", "IoU of training rollouts"),
    "length": ("completion_length/mean", "completion length (tokens)"),
    "informative": ("groups/informative", "informative groups of a step"),
    "entropy": ("entropy", "entropy (nats a token)"),
    "loss": ("loss", "loss"),
}


@dataclass(frozen=True, kw_only=True)
class SeedRuns:
    """Runs that differ in nothing but their seed, under the name that they share."""

    name: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """For a legend: the name, and the number of seeds where there are several."""
        return self.name if len(self.runs) == 1 else f"{self.name} ({len(self.runs)} seeds)"


def runs_at(paths: Sequence[Path | str]) -> list[Run]:
    """The runs of these folders or names; a folder of runs, such as a sweep's, stands for all in it."""
    found: list[Run] = []
    for name in map(Path, paths):
        path = name if name.exists() else RUNS / name
        inside = sorted(config.parent for config in path.glob("**/config.yaml") if "checkpoints" not in config.parts)
        if path.is_dir() and not (path / "config.yaml").is_file() and inside:
            found += map(Run, inside)
        else:
            found.append(load_run(name))
    return found


def arms_of(runs: Sequence[Run]) -> list[SeedRuns]:
    """Runs by arm, in the order of their appearance.

    Of one arm are runs of different seeds that have one name up to a trailing number (`full-0`, `full-1`), or whose
    configurations differ in name and seed alone.
    """
    arms: list[tuple[str, set[str], list[Run], set[int]]] = []
    for run in runs:
        config = run.config
        stem = re.sub(r"-[0-9]+$", "", config.name)
        keys = {stem, config.model_copy(update={"name": "arm", "seed": 0}).model_dump_json()}
        mine = next((arm for arm in arms if arm[1] & keys and config.seed not in arm[3]), None)
        if mine is None:
            arms.append((config.name, keys, [run], {config.seed}))
        else:
            mine[1].update(keys)
            mine[2].append(run)
            mine[3].add(config.seed)
    return [
        SeedRuns(name=re.sub(r"-[0-9]+$", "", name) if len(members) > 1 else name, runs=tuple(members))
        for name, _, members, _ in arms
    ]


def plot_reward(runs: Sequence[Run], *, x: str = "step") -> Figure:
    """The mean reward of each step's rollouts, total."""
    return _figure({"reward, mean of each step's rollouts": "reward/mean"}, runs, x)


def plot_parts(runs: Sequence[Run], *, x: str = "step") -> Figure:
    """The total and each part of the reward, a panel each, unweighted."""
    names = dict.fromkeys(name for run in runs for name in part_names(run.metrics))
    return _figure({"total reward": "reward/mean", **{name: f"reward/{name}/mean" for name in names}}, runs, x)


def plot_field(runs: Sequence[Run], field: str, title: str, *, x: str = "step") -> Figure:
    """Any number of metrics.jsonl, such as `rollout/iou_mean`."""
    return _figure({title: field}, runs, x)


def plot_held_out(runs: Sequence[Run], *, metric: str = "iou_mean_greedy", x: str = "step") -> Figure:
    """A metric on held-out examples, at each evaluation; not smoothed."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for index, arm in enumerate(arms := arms_of(runs)):
        _draw(axes, arm, [_evaluations(run, metric, x) for run in arm.runs], f"C{index}", marker="o")
    _finish(axes, AXES[x], f"{metric}, held out (not smoothed)")
    _explain(figure, arms)
    return figure


def plot_proxy(runs: Sequence[Run], *, metric: str = "iou_mean_greedy") -> Figure:
    """What training optimises against what it is for: held-out metric over the reward of the rollouts at that time.

    A curve that goes on to the right but not up is a reward that is being gamed. The reward is smoothed, at the step
    after the evaluation, whose rollouts the evaluated policy sampled. Each point is the mean over an arm's seeds, each
    thin line one seed; an arm of a sweep begins at the checkpoint that all share.
    """
    figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
    for index, arm in enumerate(arms_of(runs)):
        seeds = [_proxy(run, metric) for run in arm.runs]
        for points in seeds if len(seeds) > 1 else ():
            axes.plot(*np.array([points[key] for key in sorted(points)]).reshape(-1, 2).T, color=f"C{index}", alpha=0.3)
        if shared := sorted(set.intersection(*(set(points) for points in seeds))):
            mean = np.array([[points[key] for key in shared] for points in seeds]).mean(axis=0)
            axes.plot(*mean.T, "o-", color=f"C{index}", label=arm.label)
    _finish(axes, f"reward in training (centred mean of {SMOOTHING} steps)", f"{metric}, held out")
    return figure


def _proxy(run: Run, metric: str) -> Points:
    """The number of an evaluation -> the reward in training at that time, the metric."""
    rewards = _track(run, "reward/mean")
    known = {
        k: (rewards.get(point["step"] + 1, rewards.get(point["step"])), point[metric])
        for k, point in enumerate(_held_out(run))
        if metric in point
    }
    return {k: (reward, value) for k, (reward, value) in known.items() if reward is not None}


KINDS = ("reward", "parts", "held-out", "proxy", *FIELDS)


def plot_runs(runs: Sequence[Run], *, kind: str = "reward", x: str = "step", metric: str = "iou_mean_greedy") -> Figure:
    """`groundrl plot`: one of the figures of this module by its name. ConfigError for a name or axis there is not."""
    if x not in AXES:
        raise ConfigError(f"there is no x axis {x!r}; choose from {', '.join(AXES)}")
    if kind not in KINDS:
        raise ConfigError(f"there is no kind of figure {kind!r}; choose from {', '.join(KINDS)}")
    if kind in FIELDS:
        return plot_field(runs, *FIELDS[kind], x=x)
    if kind == "proxy":
        return plot_proxy(runs, metric=metric)
    if kind == "held-out":
        return plot_held_out(runs, metric=metric, x=x)
    return plot_parts(runs, x=x) if kind == "parts" else plot_reward(runs, x=x)


def _figure(panels: dict[str, str], runs: Sequence[Run], x: str) -> Figure:
    """One panel for each field of metrics.jsonl, arms overlaid."""
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    size = (8, 4.5) if len(panels) == 1 else (10, 3.4 * lines)
    figure, grid = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    arms = arms_of(runs)
    for axes, (title, field) in zip(grid.flat, panels.items(), strict=False):
        for index, arm in enumerate(arms):
            _draw(axes, arm, [_placed(run, _track(run, field), x) for run in arm.runs], f"C{index}")
        _finish(axes, AXES[x], f"centred mean of {SMOOTHING} steps")
        axes.set_title(title, fontsize=10)
    for empty in list(grid.flat)[len(panels) :]:
        empty.set_axis_off()
    _explain(figure, arms)
    return figure


def _track(run: Run, field: str) -> dict[int, float]:
    """Step -> a field of metrics.jsonl, smoothed."""
    rows = [row for row in run.metrics if row.get(field) is not None]
    smoothed = smooth([float(row[field]) for row in rows]).tolist()
    return {row["step"]: value for row, value in zip(rows, smoothed, strict=True)}


def _positions(run: Run, x: str) -> dict[int, float]:
    """Where each global step stands on the x axis, at its end."""
    stages = {stage.name: stage for stage in run.config.stages}
    at, total = {}, 0.0
    for row in run.metrics:
        stage = stages[row["stage"]]
        if x == "step":
            total = float(row["step"])
        elif x == "seconds":
            total += row.get("seconds/step") or 0.0
        elif isinstance(stage, RLStage):
            total += (stage.prompts_per_step + (row.get("rollout/extra_prompts") or 0.0)) * stage.group_size
        at[row["step"]] = total
    return at


def _placed(run: Run, track: dict[int, float], x: str) -> Points:
    """Step -> its place on the x axis and its value."""
    at = _positions(run, x)
    return {step: (at[step], value) for step, value in track.items()}


def _evaluations(run: Run, metric: str, x: str) -> Points:
    """The number of an evaluation (stages of one arm may differ in length) -> its place on the x axis, the metric."""
    at = _positions(run, x) | {0: 0.0}
    return {k: (at[p["step"]], p[metric]) for k, p in enumerate(_held_out(run)) if metric in p}


def _held_out(run: Run) -> list[dict[str, Any]]:
    """A run's evaluations, after that of the checkpoint it began with where another run made it, as in a sweep."""
    checkpoint = Path(run.config.model.path)
    folder = checkpoint.parent.parent
    if checkpoint.parent.name != "checkpoints" or not (folder / "evaluation.json").is_file():
        return run.held_out
    start = [point for point in load_run(folder).held_out if point["stage"] == checkpoint.name]
    return [*(point | {"step": 0} for point in start[-1:]), *run.held_out]


def _draw(axes: Axes, arm: SeedRuns, seeds: Sequence[Points], colour: str, **style: Any) -> None:
    """The mean over seeds of each point that all have, at the mean of their places; a band where there are several."""
    shared = sorted(set.intersection(*(set(points) for points in seeds)))
    if not shared:
        return
    across, values = np.array([[points[key] for key in shared] for points in seeds]).transpose(2, 0, 1)
    mean = values.mean(axis=0)
    axes.plot(across.mean(axis=0), mean, color=colour, label=arm.label, linewidth=1.8, **style)
    if len(values) > 1:
        low, high = t_interval(values.T).T
        axes.fill_between(across.mean(axis=0), low, high, color=colour, alpha=0.2, linewidth=0)


def _explain(figure: Figure, arms: Sequence[SeedRuns]) -> None:
    if any(len(arm.runs) > 1 for arm in arms):
        text = "lines: mean over seeds; bands: 95 % t interval over seeds, point by point"
        figure.suptitle(text, fontsize=9, color="0.4")


def _finish(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    if axes.lines:
        axes.legend(fontsize=8, frameon=False)
    else:
        axes.text(0.5, 0.5, "nothing recorded", ha="center", va="center", transform=axes.transAxes, color="0.5")
