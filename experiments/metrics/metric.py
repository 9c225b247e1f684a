"""What a metric is: numbers that each answer adds to sums, and a figure of the sums.

So a mean, an F1 over a data set and BLEU are one kind of thing: any of them can be taken over any part of the data, and
its interval is that of the sums (`rewards/core/intervals.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from groundrl.rewards import Completion, Example, Reward
from groundrl.rewards.core.intervals import Statistic, ratio

Statistics = Float[np.ndarray, "N S"]
TEXTS = ("references", "report", "label")  # where `references` finds what is right
Value = Callable[[Completion, Example], float | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """An example with what was answered to it. `measured`: what the model was measured at directly, as in retrieval."""

    example: Example
    completion: Completion
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What some metrics need and a person names: a judge, the folder or id of a sentence encoder."""

    judge: Reward | None = None
    encoder: str | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """`statistics` of N answers of one data set, `[N, S]`, a row of nan where the metric does not apply; summed over
    any of them, `figure` makes the number. `definition` says in a sentence what it is.

    `range` is what the figure can be. `needs` names the field of `Tools` without which it cannot be measured. `failed`
    is the column that counts answers of which the tool said nothing: they are in no other column, and are reported.
    `value` is that of one answer, None where there is none but over a whole data set (F1 over labels, BLEU), and
    `samples` makes one number of the values of an example's samples. `reads`: the fields of the reference of which an
    example needs one; `unfit` says of one that has them why it cannot be asked all the same.
    """

    definition: str
    statistics: Callable[[Sequence[Answered], Tools], Statistics]
    figure: Statistic = ratio
    needs: str | None = None
    range: tuple[float, float] = (0.0, 1.0)
    failed: int | None = None
    value: Value | None = None
    samples: Callable[[Sequence[float]], np.floating] = np.mean
    reads: tuple[str, ...] = ()
    unfit: Callable[[Example], str | None] | None = None

    @property
    def aggregation(self) -> str:
        """How the figure of a data set comes from its answers, in words."""
        if self.value is None:
            return "mean over examples" if self.figure in (ratio, mean_of_scored) else "of sums over the whole data set"
        return f"{'best' if self.samples is np.max else 'mean'} of an example's samples, mean over examples"

    @property
    def percent(self) -> bool:
        """Whether it is shown as a percentage."""
        return self.range[1] == 1.0


def mean_of(
    value: Value,
    definition: str,
    *,
    range: tuple[float, float] = (0.0, 1.0),
    samples: Callable[[Sequence[float]], np.floating] = np.mean,
    reads: tuple[str, ...] = (),
    unfit: Callable[[Example], str | None] | None = None,
) -> Metric:
    """The mean over examples of a value of each answer; None where it does not apply."""

    def statistics(answers: Sequence[Answered], tools: Tools) -> Statistics:
        return counted([value(each.completion, each.example) for each in answers])

    return Metric(
        definition=definition,
        statistics=statistics,
        range=range,
        value=value,
        samples=samples,
        reads=reads,
        unfit=unfit,
    )


def counted(values: Sequence[float | None]) -> Statistics:
    """What each answer adds to a sum and a count."""
    return rows_of([None if value is None else (value, 1.0) for value in values], width=2)


def rows_of(rows: Sequence[Sequence[float] | None], *, width: int) -> Statistics:
    """`[N, width]`, nan where there is None."""
    return np.array([[np.nan] * width if row is None else list(row) for row in rows], dtype=np.float64).reshape(
        -1, width
    )


def mean_of_scored(sums_3: Float[np.ndarray, "*R 3"]) -> Float[np.ndarray, "*R"]:
    """The mean over those that a tool has scored: the third number counts those where it failed."""
    return ratio(sums_3[..., :2])


def f1_of(counts_3: Float[np.ndarray, "*R 3"]) -> Float[np.ndarray, "*R"]:
    """`2 hits / (said + true)` of sums of hits, said and true; nan where nothing was said and nothing is true."""
    return ratio(np.stack([2.0 * counts_3[..., 0], counts_3[..., 1] + counts_3[..., 2]], axis=-1))


def mean_f1(counts: Float[np.ndarray, "*R K"]) -> Float[np.ndarray, "*R"]:
    """The mean of `f1_of` over labels, three counts each; a label that is neither said nor true is left out."""
    each = f1_of(counts.reshape(*counts.shape[:-1], -1, 3))
    known = np.isfinite(each)
    return ratio(np.stack([np.where(known, each, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64)], axis=-1))


def references(example: Example) -> tuple[str, ...]:
    """The texts that are right: the column `references`, else the report, else the label; none where there is none."""
    several = example.reference.columns.get("references")
    if isinstance(several, list | tuple) and several:
        return tuple(map(str, several))
    one = example.reference.report if example.reference.report is not None else example.reference.label
    return () if one is None else (one,)


def said(completion: Completion) -> str:
    """The final answer's text without its boxes; empty where it cannot be read."""
    return completion.label or ""
