"""What a person sees of a sweep: the plan before anything runs, then a table that lives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from groundrl.experiments.ablation.arms import MORE_SFT, Arm, rl_stages
from groundrl.experiments.ablation.compare import FULL, START, limits
from groundrl.experiments.ablation.duplicate_arms import duplicate_arm_notes
from groundrl.experiments.ablation.plan import Job, Plan
from groundrl.experiments.config.stage import RLStage
from groundrl.rollout.io.records import read_lines


def plan_table(plan: Plan) -> Table:
    """The arms and what each changes."""
    table = Table(title=f"{plan.settings.name}: {plan.settings.metric}, seeds {_listed(plan.settings.seed_list)}")
    table.add_column("arm")
    table.add_column("what it changes")
    if plan.shared:
        stages = ", ".join(f"{stage.name} ({stage.steps} steps)" for stage in plan.shared)
        table.add_row(START, f"{stages}, once per seed; every arm begins there")
    for arm in plan.arms:
        table.add_row(arm.name, str(arm))
    return table


def plan_notes(plan: Plan, pilot: Mapping[str, Any] | None, seeds: Sequence[int], processes: int) -> list[str]:
    """What is worth knowing before it runs: arms that cannot differ, what so many seeds can show, the time."""
    notes = [f"{name} is not run: {why}" for name, why in plan.idle.items()]
    notes += duplicate_arm_notes(plan, pilot["constant_parts"] if pilot is not None else [])
    notes.append(limits(len(plan.settings.seed_list), sum(arm.name != FULL for arm in plan.arms)))
    runs = len(plan.jobs(tuple(seeds)))
    if pilot is not None:
        minutes = estimate(plan, pilot, len(seeds), processes) / 60
        notes.append(f"{runs} runs, about {minutes:.1f} minutes at {processes} at a time, judged by the pilot steps")
    return notes


def estimate(plan: Plan, pilot: Mapping[str, Any], seeds: int, processes: int) -> float:
    """Seconds, from a pilot's time for a step and for a completion; loading and figures are not in it."""
    evaluation = plan.base.evaluation
    completions = evaluation.samples_per_example + max(1, evaluation.samples_per_example // 2) + 1
    testing = pilot["test_examples"] * completions * pilot["seconds_per_completion"]
    total = sum(stage.steps * pilot["seconds"][stage.name] for stage in plan.shared) + testing * bool(plan.shared)
    full = _training(plan, plan.arms[0], pilot)
    for arm in plan.arms:
        total += testing + (full if arm.name == MORE_SFT else _training(plan, arm, pilot))
    return float(total * math.ceil(seeds / processes) if seeds < processes else total * seeds / processes)


class Board:
    """The live table of a sweep in a terminal; elsewhere one line for each run that ends."""

    def __init__(self, plan: Plan, *, show: bool, console: Console | None = None) -> None:
        self.plan, self.show = plan, show
        self.console = console or Console()
        self.before: dict[Job, str] = {}
        self.live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Board:
        if self.show and self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.live.stop()

    def say(self, text: str) -> None:
        """A line."""
        if self.show:
            self.console.print(text, soft_wrap=True, highlight=False)

    def watch(self, states: Mapping[Job, str]) -> None:
        """The state of every run now."""
        if self.show and self.live.is_started:
            self.live.update(self.table(states), refresh=True)
        elif self.before:
            for job, state in states.items():
                if state != self.before[job] and state != "running":
                    self.say(f"{job}: {state}")
        self.before = dict(states)

    def table(self, states: Mapping[Job, str]) -> Table:
        """One row an arm, one column a seed."""
        seeds = sorted({job.seed for job in states})
        table = Table(title=self.plan.settings.name)
        table.add_column("arm")
        for seed in seeds:
            table.add_column(f"seed {seed}", justify="right")
        for arm in dict.fromkeys(job.arm for job in states):
            table.add_row(arm, *(self._cell(Job(arm=arm, seed=seed), states) for seed in seeds))
        return table

    def _cell(self, job: Job, states: Mapping[Job, str]) -> str:
        state = states[job]
        if state != "running":
            return {"waiting": "·", "done": "[green]done[/]", "failed": "[red]failed[/]"}.get(state, f"[red]{state}[/]")
        rows = list(read_lines(self.plan.run(job) / "metrics.jsonl"))
        return f"step {rows[-1]['step']}" if rows else "begins"


def _training(plan: Plan, arm: Arm, pilot: Mapping[str, Any]) -> float:
    """Seconds of an arm's stages; more or fewer completions in a step take more or less of its time."""
    pairs = zip(rl_stages(plan.changed(arm)), rl_stages(plan.base), strict=False)
    return float(sum(stage.steps * pilot["seconds"][stage.name] * _size(stage) / _size(own) for stage, own in pairs))


def _size(stage: Any) -> int:
    return stage.prompts_per_step * stage.group_size if isinstance(stage, RLStage) else 1


def _listed(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 2 else ", ".join(map(str, seeds))
