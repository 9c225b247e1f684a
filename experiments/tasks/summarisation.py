"""Summarisation: of a document, such as the findings of a report into its impression."""

from __future__ import annotations

from groundrl.experiments.tasks.report_generation import REPORT_METRICS
from groundrl.experiments.tasks.task import Task, text_gold

SUMMARISATION = Task(
    name="summarisation",
    templates={
        "impression": "{question}\n\nSummarise these findings as an impression.",
        "summary": "{question}\n\nSummarise this text.",
    },
    needs=("question", "report"),
    gold=text_gold,
    reward="Factuality()",
    metrics=REPORT_METRICS,
)
