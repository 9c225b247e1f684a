"""Several labels at once: sets of them, against the reference's set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from groundrl.experiments.metrics.metric import Answered, Metric, Statistics, Tools, f1_of, mean_f1, rows_of, said
from groundrl.rewards.core.intervals import ratio
from groundrl.rewards.library.labels import canonical, label_set

LABELS = ("labels",)


def _sets(answers: Sequence[Answered]) -> list[tuple[set[str], set[str]] | None]:
    """What was said and what is true."""
    return [
        None
        if each.example.reference.labels is None
        else (label_set(said(each.completion), {}), {canonical(label, {}) for label in each.example.reference.labels})
        for each in answers
    ]


def _counts(answers: Sequence[Answered], tools: Tools) -> Statistics:
    """Hits, said and true."""
    return rows_of(
        [None if own is None else [len(own[0] & own[1]), len(own[0]), len(own[1])] for own in _sets(answers)], width=3
    )


def _counts_by_label(answers: Sequence[Answered], tools: Tools) -> Statistics:
    """Hits, said and true of each label that is true of any example."""
    sets = _sets(answers)
    names = sorted({name for own in sets if own is not None for name in own[1]}) or [""]  # which nobody says
    return rows_of(
        [
            None if own is None else [float(name in side) for name in names for side in (own[0] & own[1], *own)]
            for own in sets
        ],
        width=3 * len(names),
    )


def _share(of: int) -> Metric:
    def figure(counts: Float[np.ndarray, "*R 3"]) -> Float[np.ndarray, "*R"]:
        return ratio(counts[..., [0, of]])

    what = "said labels that are true" if of == 1 else "true labels that are said"
    return Metric(definition=f"share of the {what}, over all examples", statistics=_counts, figure=figure, reads=LABELS)


CLASSIFICATION = {
    "label_precision": _share(1),
    "label_recall": _share(2),
    "label_f1": Metric(
        definition="F1 of said and true labels, counted over all examples",
        statistics=_counts,
        figure=f1_of,
        reads=LABELS,
    ),
    "label_f1_macro": Metric(
        definition="F1 of each label that occurs in the references, mean over them",
        statistics=_counts_by_label,
        figure=mean_f1,
        reads=LABELS,
    ),
}
