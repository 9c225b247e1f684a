"""The commands `eval` and `predict`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

MODEL = (
    "A Hugging Face folder or id, a run's folder or name (its last checkpoint), base, or NAME@http://host:8000/v1 for "
    "a model behind an OpenAI-compatible endpoint."
)


def evaluate(
    model: Annotated[str, typer.Argument(help=MODEL + " With --compare: the folder of an evaluation.")],
    config: Annotated[
        str | None,
        typer.Argument(
            help="A YAML file that names data sets with their tasks, or a run's; without it, a run's own evaluation is "
            "shown. With --compare: the folder of another evaluation."
        ),
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE, such as data.medqa.limit=100.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare two evaluations, example by example.")] = False,
    out: Annotated[Path | None, typer.Option(help="The folder; default: evaluations/NAME/MODEL.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace another evaluation in that folder.")] = False,
) -> None:
    """Answer and score data sets with MODEL: metrics with stated definitions, intervals over blocks, n.

    Answers are kept as they come: the same command goes on where it was, and asks again only for what failed.
    Exit code 0: all was answered; 1: the endpoint or the judge gave no answer to some; 2: bad input.
    """
    if compare:
        _compare(Path(model), config, out)
    elif config is None:
        _show_run(model)
    else:
        _evaluate(model, config, overrides or [], out, overwrite=overwrite)


def _evaluate(model: str, config: str, overrides: list[str], out: Path | None, *, overwrite: bool) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    from groundrl.experiments.config.load import parse_overrides
    from groundrl.experiments.evals.config import load_eval_config
    from groundrl.experiments.evals.evaluation import evaluate_model

    settings, base = load_eval_config(config, parse_overrides(overrides))
    folder = out or Path("evaluations") / settings.name / _name(model)
    console = Console()
    with console.status("loading the model") as status:
        content = evaluate_model(model, settings, base=base, folder=folder, overwrite=overwrite, say=status.update)
    console.print(Markdown((folder / "evaluation.md").read_text()))
    for name in ("evaluation.md", "evaluation.json", "evaluation.png", "scores.parquet"):
        console.print(f"  {folder / name}")
    faults = _faults(content["datasets"])
    for fault in faults:
        typer.echo(fault, err=True)
    raise typer.Exit(1 if faults else 0)


def _faults(datasets: Mapping[str, Any]) -> list[str]:
    """What the figures lack because an endpoint gave no answer, a sentence each."""
    unanswered = [
        f"{name}: {each['unanswered']} of {each['examples']} examples have no answer; the same command asks for those "
        "alone again"
        for name, each in datasets.items()
        if each["unanswered"]
    ]
    unscored = [
        f"{name}: {metric} has no score for {figure['failed']} answers: its tool failed"
        for name, each in datasets.items()
        for metric, figure in each["metrics"].items()
        if figure.get("failed")
    ]
    return unanswered + unscored


def _name(model: str) -> str:
    """A folder's name for a model: the last part of its path, or what is served."""
    return Path(model.partition("@http")[0]).name or "model"


def _compare(first: Path, second: str | None, out: Path | None) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    from groundrl.experiments.config.run import ConfigError
    from groundrl.experiments.evals.compare import compare_evaluations, comparison_markdown, write_comparison

    if second is None:
        raise ConfigError("--compare needs the folders of two evaluations")
    content = compare_evaluations(first, Path(second))
    folder = out or Path(second)
    write_comparison(content, folder)
    console = Console()
    console.print(Markdown(comparison_markdown(content)))
    console.print(f"  {folder / 'comparison.md'}\n  {folder / 'comparison.json'}")


def _show_run(run: str) -> None:
    from groundrl.experiments.cli.closing import close
    from groundrl.experiments.runs.reader import load_run

    close(load_run(run).folder)


def predict(
    model: Annotated[str, typer.Argument(help=MODEL)],
    what: Annotated[
        list[str],
        typer.Argument(help="Images or folders of images (- reads paths from standard input), then the question."),
    ],
    out: Annotated[Path, typer.Option(help="Where a .json and, with boxes, a .png of each image go.")] = Path(
        "predictions"
    ),
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 512,
    box_space: Annotated[
        str | None,
        typer.Option(
            help="How the model writes boxes: rel1000, rel1, pixel, or a format such as gemini. A run says it itself."
        ),
    ] = None,
) -> None:
    """Ask MODEL a question about images: the text, boxes in pixels of the original as JSON, and drawn.

    groundrl predict base cells.png "Detect and localize all nuclei in the image."
    """
    import sys

    from groundrl.experiments.config.run import ConfigError
    from groundrl.experiments.evals.predict import images_at
    from groundrl.experiments.evals.predict import predict as predict_images

    *paths, question = what
    if not paths:
        raise ConfigError('predict needs an image and a question: groundrl predict MODEL IMAGE... "question"')
    listed = [line for path in paths for line in (sys.stdin.read().splitlines() if path == "-" else [path])]
    failed = False
    for found in predict_images(
        model,
        images_at([Path(line) for line in listed if line.strip()]),
        question,
        out=out,
        max_new_tokens=max_new_tokens,
        box_space=box_space,
    ):
        typer.echo(f"{found['image']}: {found.get('error') or found['text']}", err="error" in found)
        failed = failed or "error" in found
        if found.get("boxes"):
            typer.echo(f"  {len(found['boxes'])} boxes: {found['picture']}")
    raise typer.Exit(1 if failed else 0)
