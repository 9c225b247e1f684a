"""Captioning: one sentence or a few about an image."""

from __future__ import annotations

from groundrl.experiments.tasks.task import Task, text_gold

CAPTIONING = Task(
    name="captioning",
    templates={"describe": "Describe this {modality}."},
    needs=("images", "report"),
    gold=text_gold,
    reward="Factuality()",
    metrics=("rouge_l", "bleu_4", "cider", "embedding_cosine", "fact_precision", "fact_recall", "fact_f1"),
)
