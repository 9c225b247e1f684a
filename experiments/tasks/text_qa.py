"""Open questions without an image."""

from __future__ import annotations

from groundrl.experiments.tasks.task import Fields, Task
from groundrl.experiments.tasks.vqa import open_gold


def has_images(fields: Fields) -> str | None:
    """A question about an image is a VQA."""
    return "it has an image" if fields.images else None


TEXT_QA = Task(
    name="text_qa",
    templates={"question": "{question}"},
    needs=("question", "answer"),
    gold=open_gold,
    reward="LabelAccuracy()",
    metrics=("exact_match", "token_f1", "rouge_l", "judge", "medevalkit"),
    refuses=has_images,
)
