"""The command line. Every import that takes time waits until a command needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from groundrl.experiments.cli.closing import Recoverable, close
from groundrl.experiments.cli.data import app as data
from groundrl.experiments.cli.evaluate import evaluate, predict
from groundrl.experiments.cli.keys import keys

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")


def _print_version(asked: bool) -> bool:
    if asked:
        from importlib.metadata import version

        typer.echo(version("groundrl"))
        raise typer.Exit
    return asked


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Reinforcement learning with verifiable rewards for vision-language and text models."""


Config = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe such as quickstart.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="KEY=VALUE, such as stages.rl.steps=20 seed=3.")]
LOG = "A run's folder or its name under runs/, TRL's completions, verl's rollouts, or JSON lines."
RunPath = Annotated[Path, typer.Argument(help="A run's folder, or its name under runs/.")]


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a run of the same name.")] = False,
    runs: Annotated[Path, typer.Option(help="Where runs lie.")] = Path("runs"),
) -> None:
    """Run all stages of CONFIG: train, evaluate, draw."""
    from groundrl.experiments.config.load import load_config, parse_overrides
    from groundrl.experiments.runs.train import train as train_run

    changes = parse_overrides(overrides or [])
    folder = runs / load_config(config, changes)[0].name
    with Recoverable(folder):
        close(train_run(config, overrides=changes, overwrite=overwrite, runs=runs).folder)


@app.command()
def resume(
    run: RunPath,
    allow_changed: Annotated[
        bool, typer.Option(help="Go on although the configuration or the reward is no longer what the run began with.")
    ] = False,
) -> None:
    """Continue an interrupted run from its last checkpoint, as if it had never stopped."""
    from groundrl.experiments.runs.reader import load_run
    from groundrl.experiments.runs.train import resume as resume_run

    folder = load_run(run).folder
    with Recoverable(folder):
        close(resume_run(folder, allow_changed=allow_changed).folder)


app.command(name="eval")(evaluate)
app.command()(predict)
app.command()(keys)


@app.command()
def audit(
    reward: Annotated[
        str, typer.Argument(help="An expression such as 'SoftF1()', my_rewards.py:tight, or a configuration.")
    ],
    data: Annotated[
        str | None,
        typer.Option(help="As in a configuration, or a run's folder or a log; default: its own, else nuclei/train."),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="How many examples are drawn.")] = 200,
    threshold: Annotated[float, typer.Option(help="Share of gold at which a blind policy is flagged.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Draws the examples and the random answers.")] = 0,
    out: Annotated[Path, typer.Option(help="Where audit.json and audit.png are written.")] = Path("audit"),
) -> None:
    """What does REWARD pay for answers that never look? Exit code 0: it passed; 1: it can be gamed; 2: bad input."""
    from rich.console import Console

    from groundrl.experiments.audit.command import audit_command
    from groundrl.experiments.cli.audit_table import audit_tables

    report = audit_command(reward, data=data, count=examples, threshold=threshold, seed=seed, out=out)[0]
    console = Console()
    for each in audit_tables(report):
        console.print(each)
    console.print(f"  {out / 'audit.json'}\n  {out / 'audit.png'}")
    raise typer.Exit(0 if report.passed else 1)


@app.command()
def rescore(
    run: Annotated[Path, typer.Argument(help=LOG)],
    reward: Annotated[str, typer.Option(help="An expression such as 'SoftF1()', or my_rewards.py:tight.")],
    out: Annotated[
        Path | None, typer.Option(help="Where rescored.parquet and rescore.json go; default: RUN/rescored.")
    ] = None,
) -> None:
    """Score recorded completions under another REWARD, without a model: what would training have seen?"""
    import gc

    from rich.console import Console

    from groundrl.experiments.analysis import log_reward, open_log
    from groundrl.experiments.cli.rescore_table import rescore_tables
    from groundrl.experiments.rescoring.rescore import rescore as rescore_log

    gc.freeze()  # what is imported is no garbage, and is not looked through again and again
    log = open_log(run)
    found = rescore_log(log, log_reward(log, reward))
    folder = out or (log.folder / "rescored" if log.folder is not None else Path("rescored"))
    found.write(folder)
    console = Console()
    for each in rescore_tables(found):
        console.print(each)
    console.print(f"  {folder / 'rescored.parquet'}\n  {folder / 'rescore.json'}")


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Runs' folders or names; a folder of runs stands for all in it.")],
    kind: Annotated[
        str, typer.Option(help="reward, parts, held-out, proxy, iou, length, informative, entropy or loss.")
    ] = "reward",
    x: Annotated[str, typer.Option(help="step, samples or seconds.")] = "step",
    metric: Annotated[str, typer.Option(help="Of held-out and proxy.")] = "iou_mean_greedy",
    out: Annotated[Path, typer.Option(help="A .png, .svg or .pdf file.")] = Path("plot.png"),
) -> None:
    """Draw curves of RUNS: arms overlaid, each the mean over its seeds with a 95 % interval."""
    from groundrl.experiments.analysis.compare_runs import plot_runs, runs_at
    from groundrl.experiments.drawing.curves import save_figure

    save_figure(plot_runs(runs_at(runs), kind=kind, x=x, metric=metric), out)
    typer.echo(f"  {out}")


@app.command()
def view(
    run: Annotated[Path, typer.Argument(help=LOG)],
    out: Annotated[Path | None, typer.Option(help="The page; default: RUN/page.html.")] = None,
) -> None:
    """Make one HTML page to look at RUN: curves, completions with their boxes and parts, before and after."""
    from groundrl.experiments.analysis import open_log
    from groundrl.experiments.analysis.page import write_page

    log = open_log(run)
    path = out or (log.folder / "page.html" if log.folder is not None else Path("page.html"))
    write_page(log, path)
    typer.echo(f"open {path} in a browser ({path.stat().st_size / 1e6:.1f} MB)")


@app.command()
def sweep(
    config: Annotated[str, typer.Argument(help="A sweep's YAML file, or a shipped one such as ablation.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE of the sweep (seeds=3) or of its base (stages.rl.steps=20).")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Runs at the same time; the threads are divided.")] = 1,
    shard: Annotated[str, typer.Option(help="i/n: on n machines, the i-th part of the seeds.")] = "1/1",
    dry_run: Annotated[bool, typer.Option(help="Print the plan and, from pilot steps, the time; run nothing.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Begin anew.")] = False,
    runs: Annotated[Path, typer.Option(help="Where runs lie.")] = Path("runs"),
) -> None:
    """Compare arms of a run over seeds: CONFIG names a base, arms, controls, one metric. Goes on where it was.

    Exit code 0: every run is complete; 1: some failed, the others were made; 2: bad input; 130: interrupted.
    """
    from rich.console import Console

    from groundrl.experiments.ablation.sweep import dry_run as print_plan
    from groundrl.experiments.ablation.sweep import parse_shard
    from groundrl.experiments.ablation.sweep import sweep as run_sweep
    from groundrl.experiments.config.load import parse_overrides

    console, changes = Console(), parse_overrides(overrides or [])
    if dry_run:
        print_plan(config, overrides=changes, processes=processes, shard=parse_shard(shard), console=console)
        return
    try:
        done = run_sweep(
            config, overrides=changes, processes=processes, shard=parse_shard(shard), overwrite=overwrite, runs=runs
        )
    except KeyboardInterrupt:
        typer.echo("\ninterrupted; the same command goes on where it was", err=True)
        raise typer.Exit(130) from None
    for text in done.results.sentences:
        console.print(text, soft_wrap=True, highlight=False)
    for name in ("ablation.md", "ablation.png", "results.parquet"):
        if (done.folder / name).is_file():
            console.print(f"  {done.folder / name}")
    for run in done.failed:
        typer.echo(f"failed: {run}; its traceback is in {done.folder / 'errors' / run}.txt", err=True)
    raise typer.Exit(1 if done.failed else 0)


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="startup, rewards, factuality, rollouts or data.")] = "startup",
    case: Annotated[str | None, typer.Option(help="Of rollouts: one case, or plots; all by default.")] = None,
) -> None:
    """Measure, in fresh processes where that matters. `rollouts` and `data` also write BENCHMARKS.md here."""
    from groundrl.experiments.bench import BENCHES

    if what not in BENCHES:
        raise typer.BadParameter(f"there is no benchmark {what!r}; choose from {', '.join(BENCHES)}")
    if case is not None and what != "rollouts":
        raise typer.BadParameter(f"only rollouts has cases, not {what}")
    for name, value in (BENCHES[what]() if case is None else BENCHES[what](case)).items():
        typer.echo(f"{name}: {value:.4g}")


def main() -> None:
    """The entry point: a user's fault is one sentence, not a traceback."""
    try:
        app()
    except Exception as error:
        from groundrl.rewards import RewardError  # here, so that --help need not wait for numpy

        if not isinstance(error, ValueError | RewardError):
            raise
        typer.echo(f"groundrl: {error}", err=True)
        sys.exit(2)
