"""Report generation: findings and impression of one or several images."""

from __future__ import annotations

from groundrl.experiments.tasks.task import Task, text_gold

REPORT_METRICS = (
    *("rouge_l", "bleu_4", "cider", "embedding_cosine"),
    *("fact_precision", "fact_recall", "fact_f1", "contradictions", "chexpert_f1_micro", "chexpert_f1_macro"),
)


def report_text(findings: str | None, impression: str | None) -> str:
    """`Findings: ... Impression: ...`, a section that is empty left out."""
    sections = {"Findings": findings, "Impression": impression}
    return " ".join(f"{name}: {' '.join(text.split())}" for name, text in sections.items() if text and text.strip())


REPORT_GENERATION = Task(
    name="report_generation",
    templates={
        "medmo": "Generate a detailed radiology report for this {modality}.",
        "sections": "Write a report of this {modality} in the form: Findings: ... Impression: ...",
        "plain": "Write a report of the image.",
    },
    needs=("images", "report"),
    gold=text_gold,
    reward="Factuality()",
    metrics=REPORT_METRICS,
)
