"""`sweep(...)` runs an ablation or goes on with it; `Sweep` is what a notebook works with."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from groundrl.experiments.ablation.compare import Comparison
from groundrl.experiments.ablation.plan import Plan
from groundrl.experiments.ablation.progress import Board, plan_notes, plan_table
from groundrl.experiments.ablation.report import write_results
from groundrl.experiments.ablation.results import Results, read_results
from groundrl.experiments.ablation.runner import Workers, run_all
from groundrl.experiments.ablation.settings import load_sweep_settings
from groundrl.experiments.ablation.worker import read_plan
from groundrl.experiments.config.rewards import load_metrics
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.data import load_source
from groundrl.experiments.runs.measures import check_measurable
from groundrl.experiments.runs.reader import RUNS
from groundrl.rollout.io.records import write_text

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure


class Sweep:
    """A sweep's folder as an object."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "sweep.yaml").is_file():
            raise ConfigError(f"{folder} is not a sweep: it has no sweep.yaml")
        self.folder = folder

    def __repr__(self) -> str:
        return f"Sweep({str(self.folder)!r})"

    def _repr_markdown_(self) -> str:
        """How a notebook shows it: ablation.md."""
        return (self.folder / "ablation.md").read_text()

    @property
    def results(self) -> Results:
        """Means, comparisons and sentences, from the runs that are complete."""
        return read_results(read_plan(self.folder))

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Each arm against `full`."""
        return self.results.comparisons

    @property
    def table(self) -> pa.Table:
        """One row for each arm, seed and metric (a pyarrow table; `.to_pandas()`)."""
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / "results.parquet")

    @property
    def failed(self) -> dict[str, str]:
        """Run -> the traceback with which it ended."""
        return {file.stem: file.read_text() for file in sorted((self.folder / "errors").glob("*.txt"))}

    def figure(self) -> Figure:
        """Each arm's mean and its difference to `full`, with intervals and every seed."""
        from groundrl.experiments.ablation.figure import draw_ablation

        return draw_ablation(self.results)


def sweep(
    config: str | Path | Mapping[str, Any] = "ablation",
    *,
    overrides: Mapping[str, Any] | None = None,
    processes: int = 1,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    runs: Path | str = RUNS,
    progress: bool = True,
    **keys: Any,
) -> Sweep:
    """Run a sweep, or go on with one: complete runs are read, interrupted ones resumed.

    `overrides` and further keyword arguments set keys of the sweep (`seeds=3`) or dotted keys of its base.
    `shard=(i, n)` makes only every n-th seed, from the i-th on: for n machines, whose folders are then put together.
    Runs that fail do not stop the others: see `Sweep.failed`.
    """
    settings, paths = load_sweep_settings(config, {**(overrides or {}), **keys})
    plan = Plan(settings, paths, Path(runs) / settings.name)
    jobs = plan.jobs(shard_of(settings.seed_list, shard))
    _prepare(plan, overwrite=overwrite)
    with _alone(plan.folder, shard), Board(plan, show=progress) as board, Workers(plan, processes) as workers:
        if not all(plan.done(job) for job in jobs):
            for note in plan_notes(plan, _pilot(plan, workers), shard_of(settings.seed_list, shard), processes):
                board.say(note)
        failed = run_all(plan, jobs, workers.make, processes=processes, watch=board.watch)
        write_results(plan, failed)
    return Sweep(plan.folder)


def dry_run(
    config: str | Path | Mapping[str, Any],
    *,
    overrides: Mapping[str, Any],
    processes: int = 1,
    shard: tuple[int, int] = (1, 1),
    console: Console,
) -> None:
    """Print what `sweep` would do and how long it would take; only two pilot steps are run, and nothing is kept."""
    settings, paths = load_sweep_settings(config, overrides)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(settings, paths, Path(folder) / settings.name)
        seeds = shard_of(settings.seed_list, shard)
        console.print(plan_table(plan))
        _prepare(plan, overwrite=False)
        with Workers(plan, processes) as workers:
            notes = plan_notes(plan, workers.pilot(), seeds, processes)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)


def load_sweep(folder: Path | str) -> Sweep:
    """Open a sweep by its folder, or by its name under `runs/`."""
    path = Path(folder)
    return Sweep(path if path.exists() else RUNS / path)


def shard_of(seeds: tuple[int, ...], shard: tuple[int, int]) -> tuple[int, ...]:
    """The seeds of one machine of several: a seed stays whole, for its arms share a checkpoint and are paired."""
    index, machines = shard
    if not 1 <= index <= machines <= len(seeds):
        raise ConfigError(f"a shard is i/n with 1 <= i <= n, n at most the {len(seeds)} seeds, got {index}/{machines}")
    return seeds[index - 1 :: machines]


def parse_shard(text: str) -> tuple[int, int]:
    """`"1/4"` as (1, 4)."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise ConfigError(f"a shard is i/n such as 1/4, got {text!r}")
    return int(found[1]), int(found[2])


def _prepare(plan: Plan, *, overwrite: bool) -> None:
    """Make the sweep's folder, or see that what lies there belongs to this sweep."""
    from groundrl.experiments.recording.folder import environment

    file = plan.folder / "sweep.yaml"
    if plan.folder.exists() and not file.is_file() and any(plan.folder.iterdir()):
        raise ConfigError(f"{plan.folder} exists and is not a sweep's folder; choose another name (name=...)")
    if overwrite:
        shutil.rmtree(plan.folder, ignore_errors=True)
    elif file.is_file():
        declared = yaml.safe_load(file.read_text())["metric"]
        if declared != plan.settings.metric:
            raise ConfigError(
                f"the metric of {plan.folder} was declared as {declared} before its runs; for {plan.settings.metric} "
                "choose another name (name=...)"
            )
        plan.check_found()
    if not file.is_file():  # what lies there was measured, and its data may have moved since
        test = plan.base.data.test
        assert test is not None, "the plan has checked it"
        source = load_source(test, seed=plan.base.seed, base=plan.paths)
        check_measurable(plan.settings.metric, plan.base, load_metrics(plan.base.metrics, plan.paths), source, "test")
    content = yaml.safe_dump(plan.settings.model_dump(mode="json"), sort_keys=False)
    write_text(json.dumps(environment(plan.base, plan.paths, None), indent=2) + "\n", plan.folder / "environment.json")
    write_text(content, file)


@contextlib.contextmanager
def _alone(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Two processes must not make the same runs."""
    with (folder / f".lock-{shard[0]}-of-{shard[1]}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process is at work on {folder}; wait for it or stop it") from None
        yield


def _pilot(plan: Plan, workers: Workers) -> dict[str, Any]:
    """Measured once for a sweep."""
    file = plan.folder / "pilot.json"
    if not file.is_file():
        write_text(json.dumps(workers.pilot(), indent=2) + "\n", file)
    found: dict[str, Any] = json.loads(file.read_text())
    return found
