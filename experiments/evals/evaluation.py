"""One evaluation: a model, data sets, metrics, and a folder that can be gone on with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from groundrl.experiments.config.rewards import load_metrics
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.data.seen_pixels import as_the_model_writes, in_seen_pixels
from groundrl.experiments.data.sources import load_source
from groundrl.experiments.evals.answers import Answers
from groundrl.experiments.evals.config import DataSet, EvalConfig
from groundrl.experiments.evals.figure import draw
from groundrl.experiments.evals.models import boxes_of, open_engine, weights_stamp
from groundrl.experiments.evals.scores import Scored, by_size, figures, joined, score, unfit_examples
from groundrl.experiments.evals.tables import markdown
from groundrl.experiments.metrics import METRICS, Metric, Tools
from groundrl.experiments.metrics.own import described
from groundrl.experiments.runs.measures import check_asked
from groundrl.rewards import Judge, parse_reward
from groundrl.rollout.io.records import write_table, write_text

PACKAGES = ("groundrl", "torch", "transformers", "numpy", "scipy", "rouge-score", "sacrebleu")
Say = Callable[[str], None]


def evaluate_model(
    model: str, config: EvalConfig, *, base: Path, folder: Path, overwrite: bool = False, say: Say = lambda text: None
) -> dict[str, Any]:
    """Answer and score all data sets of a configuration; the content of evaluation.json.

    `folder` gets `rows/<data set>/part-*.parquet`, `scores.parquet`, `evaluation.json`, `.md` and `.png`. An
    evaluation of the same model and configuration that stands there is gone on with: answers are asked for once, and
    again only where there was an error. ConfigError for a folder with anything else, unless `overwrite`.
    """
    tools = Tools(judge=_judge(config), encoder=config.encoder)
    sources = {data.name: load_source(data.data, seed=config.seed, base=base) for data in config.data}
    own = load_metrics(config.metrics, base)
    metrics = {**METRICS, **own}
    for data in config.data:
        for name in data.metrics or ():
            check_asked(name, metrics[name], sources[data.name], data.name, limit=data.limit)
    boxes = config.boxes or boxes_of(model)
    _claim(folder, model, config, overwrite=overwrite)
    engine = None
    if in_seen_pixels(boxes):
        engine = open_engine(model, batch_size=config.batch_size, dtype=config.dtype, endpoint=config.endpoint)
    written = {
        name: as_the_model_writes(source, None if engine is None else engine.policy, boxes)
        for name, source in sources.items()
    }
    all_answers = [Answers(data, written[data.name], config, folder / "rows" / data.name) for data in config.data]
    for answers in all_answers:
        if not answers.complete:
            engine = engine or open_engine(
                model, batch_size=config.batch_size, dtype=config.dtype, endpoint=config.endpoint
            )
            answers.ask(engine, say)
    scored, datasets = [], {}
    for answers in all_answers:
        numbers, content = _scored(answers, tools, metrics, own)
        scored.append(numbers)
        datasets[answers.data.name] = content
    content = {
        "schema": 1,
        "name": config.name,
        "model": model,
        "packages": {package: version(package) for package in PACKAGES},
        **({"metrics": {name: described(metric) for name, metric in own.items()}} if own else {}),
        "datasets": datasets,
        "tasks": _by_task(scored, metrics),
    }
    every = dict.fromkeys(metric for each in scored for metric in each.statistics)
    write_table([{**every, **row} for each in scored for row in each.columns()], folder / "scores.parquet")
    write_text(json.dumps(content, indent=2) + "\n", folder / "evaluation.json")
    write_text(markdown(content), folder / "evaluation.md")
    draw(content, folder / "evaluation.png")
    return content


def _judge(config: EvalConfig) -> Judge | None:
    if config.judge is None:
        return None
    found = parse_reward(config.judge)
    if not isinstance(found, Judge):
        raise ConfigError(f"judge: it is a Judge(base_url=..., model=...), got {config.judge}")
    return found


def _claim(folder: Path, model: str, config: EvalConfig, *, overwrite: bool) -> None:
    """Make the folder this evaluation's, or find that it is."""
    import shutil

    exclude = {key for key in ("boxes", "metrics") if not getattr(config, key)}  # an older version did not have them
    what = {"model": model, "weights": weights_stamp(model), "config": config.model_dump(mode="json", exclude=exclude)}
    plan = yaml.safe_dump(what, sort_keys=False)
    file = folder / "evaluation.yaml"
    if folder.exists() and any(folder.iterdir()):
        if not file.is_file():
            raise ConfigError(f"{folder} exists and is no evaluation; choose another --out")
        if file.read_text() == plan and not overwrite:
            return
        if not overwrite:
            raise ConfigError(
                f"{folder} holds an evaluation of another model or configuration; choose another --out, or replace it "
                "with --overwrite"
            )
        shutil.rmtree(folder)
    write_text(plan, file)


def _scored(
    answers: Answers, tools: Tools, metrics: Mapping[str, Metric], own: Mapping[str, Metric]
) -> tuple[Scored, dict[str, Any]]:
    """A data set's numbers, and what evaluation.json says of it."""
    data: DataSet = answers.data
    rows = answers.rows()
    answered = list(answers.answered())
    scored, left_out = score(data, answered, tools, metrics, own)
    reasons = Counter(row["error"] for row in rows if row["error"] is not None)
    content = {
        "task": scored.task,
        "examples": len(rows),
        "empty": getattr(answers.source, "left_out", 0),
        "errors": reasons.total(),
        "unanswered": answers.unanswered,
        "reasons": dict(sorted(reasons.items())),
        "cut_off": sum(row["finish_reason"] == "length" for row in rows),
        "left_out": left_out,
        "metrics": figures(scored, metrics),
    }
    kept_out = unfit_examples(data, answered, metrics, own)
    content |= {"unfit": kept_out} if kept_out else {}
    sizes = by_size(answered) if "iou_of_true_boxes" in scored.statistics else {}
    return scored, content | ({"by_size": sizes} if sizes else {})


def _by_task(scored: list[Scored], metrics: Mapping[str, Metric]) -> Mapping[str, Any]:
    """The tasks that have several data sets, these taken together."""
    tasks = dict.fromkeys(each.task for each in scored)
    parts = {task: [each for each in scored if each.task == task] for task in tasks}
    return {
        task: {"datasets": [each.name for each in own], "metrics": figures(joined(own), metrics)}
        for task, own in parts.items()
        if len(own) > 1
    }
