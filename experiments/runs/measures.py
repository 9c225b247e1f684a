"""What a run measures: said before it begins, and refused where its data cannot be asked it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from groundrl.experiments.config.run import HELD_OUT_LOSS, ConfigError, RunConfig
from groundrl.experiments.metrics import METRICS, Metric
from groundrl.experiments.metrics.figures import LOOKED_AT, REWARD, figure, lacks, sound, unfit
from groundrl.rewards import ExampleSource

Sources = Mapping[str, ExampleSource]


def check_metrics(config: RunConfig, own: Mapping[str, Metric], sources: Sources) -> None:
    """ConfigError for a metric that is asked for, or is to choose a checkpoint, and that its data cannot be asked.

    What is measured by default may be lacking. `own` are the user's metrics, `sources` the data by name.
    """
    held_out = [name for name in ("validation", "test") if name in sources]  # the first chooses, the last is reported
    if not held_out:
        return
    for name in config.evaluation.metrics or ():
        check_measurable(name, config, own, sources[held_out[-1]], held_out[-1])
    for best in {stage.keep_best for stage in config.stages}:
        if best is not None and best.startswith("held_out/") and best != HELD_OUT_LOSS:
            check_measurable(best.removeprefix("held_out/"), config, own, sources[held_out[0]], held_out[0])


def check_measurable(name: str, config: RunConfig, own: Mapping[str, Metric], source: ExampleSource, data: str) -> None:
    """ConfigError where no example of `source`, which is `data.<data>`, can be asked a figure."""
    base = figure(name).base
    if base == REWARD:
        if config.reward is None:
            raise ConfigError(f"metric {name} is the mean of the run's reward, and it has none: set `reward`")
        return
    check_asked(name, {**METRICS, **own}[base], source, data)


def check_asked(name: str, metric: Metric, source: ExampleSource, data: str, *, limit: int | None = None) -> None:
    """ConfigError where none of the first `limit` examples of `data.<data>` can be asked a metric."""
    if lacks(metric, sound(source, limit=limit)):
        needed = " or ".join(metric.reads)
        if reasons := unfit(metric, sound(source, limit=limit)):
            raise ConfigError(f"metric {name} can be asked no example of data.{data}; {reasons[0]}")
        raise ConfigError(f"metric {name} needs {needed} in the reference, which data.{data} lacks")


def said_before(config: RunConfig, own: Mapping[str, Metric], sources: Sources) -> Iterator[str]:
    """What a run says before it trains: its figures, and examples that a figure leaves out."""
    known = {**METRICS, **own}
    for data in ("validation", "test"):
        if data in sources:
            names = metrics_of(config, own, sources[data])
            if data == "test":
                yield f"measured on test: {', '.join(names)}"
            for base in dict.fromkeys(figure(name).base for name in names):
                if base in known and (reasons := unfit(known[base], sound(sources[data]))):
                    yield f"{base} leaves out {len(reasons)} of {len(sources[data])} {data} examples; {reasons[0]}"


def metrics_of(config: RunConfig, own: Mapping[str, Metric], source: ExampleSource) -> tuple[str, ...]:
    """The figures of a run that its held-out data can be asked, by `LOOKED_AT` examples from all over them."""
    examples, known = list(islice(sound(source), LOOKED_AT)), {**METRICS, **own}
    bases = {name: figure(name).base for name in config.figures}
    return tuple(
        name
        for name, base in bases.items()
        if (config.reward is not None if base == REWARD else not lacks(known[base], examples))
    )
