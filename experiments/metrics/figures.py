"""A figure of a run: a metric's name, then `_greedy` or `_cool` for another decoding than samples at T = 1."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from groundrl.experiments.metrics import METRICS, RENAMED, Metric
from groundrl.rewards import DataError, Example, ExampleSource
from groundrl.rewards.expression import nearest

DECODINGS = ("greedy", "cool")
REWARD = "reward_mean"  # of the run's own reward, which no table of metrics can hold
DEFAULTS = (  # those that the data can be asked; the others are left out of the results
    "iou_mean",
    "iou_mean_greedy",
    "iou_mean_cool",
    "iou_best_of_n",
    "iou_positive",
    "iou_positive_greedy",
    REWARD,
    "choice_accuracy",
    "choice_accuracy_greedy",
    "label_accuracy",
    "fact_f1",
    "fact_f1_greedy",
    "format_rate",
    "completion_length",
)
# What every run recorded before the defaults followed from the data.
DEFAULTS_BEFORE = tuple(name for name in DEFAULTS if not name.startswith("choice"))
COLUMNS = {  # where a metric's values stand in the rows of an evaluation, under another name than its own
    "iou_mean": "iou",
    "iou_best_of_n": "iou",
    REWARD: "reward",
    "label_accuracy": "label_correct",
    "format_rate": "well_formed",
    "completion_length": "length",
}
TAKEN = {  # the other columns of a row
    *("index", "example_id", "block", "decoding", "sample", "text", "token_ids", "sampled", "logprobs"),
    *("finish_reason", "policy_version", *COLUMNS.values()),
}
COLUMNS_READ = ("references", "pair")  # what metrics read of a reference's further columns
OF_A_SCORE = ("dataset", "task")  # columns of an evaluation's scores beside those
LOOKED_AT = 1000  # examples, to say what the data can be asked


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Of which metric, in which decoding, and in which column its values stand."""

    base: str
    decoding: str

    @property
    def column(self) -> str:
        """The column of an evaluation's rows."""
        return COLUMNS.get(self.base, self.base)


def figure(name: str) -> Figure:
    """`iou_mean_greedy` as metric and decoding."""
    base, _, decoding = name.rpartition("_")
    return Figure(base=base, decoding=decoding) if decoding in DECODINGS else Figure(base=name, decoding="sampled")


def default_figures(own: Iterable[str]) -> tuple[str, ...]:
    """What a run measures where it is told nothing; `own` are the names of a user's metrics."""
    return (*DEFAULTS, *(f"{name}{decoding}" for name in own for decoding in ("", "_greedy")))


def check_figure(name: str, own: Collection[str] = ()) -> None:
    """ValueError for a figure that a run cannot have; `own` are the names of a user's metrics."""
    base = figure(name).base
    if base in own or base == REWARD:
        return
    if base not in METRICS:
        every = [*(known for known, metric in METRICS.items() if metric.value is not None), REWARD, *own]
        known = [*every, *(f"{each}_{decoding}" for each in every for decoding in DECODINGS)]
        raise ValueError(f"there is no metric {name!r}{nearest(name, known)}")
    if METRICS[base].value is None:
        raise ValueError(
            f"metric {name!r} is of a whole data set and has no value for one answer, so a run cannot have it; "
            "`groundrl eval` has"
        )


def check_own_name(name: str) -> None:
    """ValueError where a user's metric cannot be called so."""
    if not name.isidentifier() or figure(name).base != name:
        raise ValueError(
            f"a metric cannot be called {name!r}: use a Python identifier that ends in no _greedy or _cool"
        )
    if name in METRICS or name in RENAMED or name == REWARD or name in TAKEN or name in OF_A_SCORE:
        raise ValueError(f"a metric cannot be called {name!r}: that name is taken")


def measured(names: Iterable[str], own: Mapping[str, Metric]) -> dict[str, Metric]:
    """Column -> the metric whose values it holds: what every run has, and what these figures need."""
    bases = dict.fromkeys(figure(name).base for name in (*DEFAULTS, *names))
    return {figure(base).column: {**METRICS, **own}[base] for base in bases if base != REWARD}


def lacks(metric: Metric, examples: Iterable[Example]) -> bool:
    """Whether none of the examples has a field of the reference that the metric reads, and can be asked it."""
    return bool(metric.reads) and not any(
        any(_has(each, field) for field in metric.reads) and (metric.unfit is None or metric.unfit(each) is None)
        for each in examples
    )


def unfit(metric: Metric, examples: Iterable[Example]) -> list[str]:
    """The examples that have what a metric reads and cannot be asked it all the same, each with the reason."""
    if metric.unfit is None:
        return []
    return [f"example {each.id!r}: {why}" for each in examples if (why := metric.unfit(each)) is not None]


def sound(source: ExampleSource, *, limit: int | None = None) -> Iterator[Example]:
    """The first `limit` examples of a source, `LOOKED_AT` from all over them first, without those that are faulty.

    Whoever reads them for training says what is wrong with those.
    """
    count = min(len(source), limit or len(source))
    spread = range(0, count, max(1, count // LOOKED_AT))
    for index in (*spread, *(index for index in range(count) if index not in spread)):
        with suppress(DataError):
            yield source[index]


def _has(example: Example, field: str) -> bool:
    if field in COLUMNS_READ:
        return bool(example.reference.columns.get(field))
    return getattr(example.reference, field) is not None
