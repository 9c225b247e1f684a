"""Retrieval: is a partner among the nearest? Hidden states are pooled and ranked where the model is (the task does)."""

from __future__ import annotations

from collections.abc import Sequence

from groundrl.experiments.metrics.metric import Answered, Metric, Statistics, Tools, counted


def _recall(k: int) -> Metric:
    def statistics(answers: Sequence[Answered], tools: Tools) -> Statistics:
        return counted([each.measured.get(f"recall_{k}") for each in answers])

    return Metric(
        definition=f"share of examples with a partner among the {k} nearest by cosine of pooled hidden states",
        statistics=statistics,
        reads=("pair",),
    )


RETRIEVAL = {f"recall_{k}": _recall(k) for k in (1, 5, 10)}
