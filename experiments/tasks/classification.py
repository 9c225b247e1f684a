"""Multi-label classification: which labels are present, separated by commas; `none` where no label is."""

from __future__ import annotations

from groundrl.experiments.tasks.task import Fields, Gold, Task
from groundrl.rewards import Reference

NONE = "none"


def gold(fields: Fields) -> Gold:
    """The labels; an example without any is answered by the label `none`."""
    labels = fields.labels or (NONE,)
    return Gold(answer=", ".join(labels), reference=Reference(labels=labels))


def unlabelled(fields: Fields) -> str | None:
    """No labels at all is not the same as an empty list of labels."""
    return "it has no labels" if fields.labels is None else None


CLASSIFICATION = Task(
    name="classification",
    templates={
        "medmo": "What abnormalities are present in this {modality}?",
        "list": "{question}\nList all that apply, separated by commas, or answer none.",
    },
    needs=("images",),
    gold=gold,
    reward="LabelAccuracy(mode='multi_label')",
    metrics=("label_precision", "label_recall", "label_f1", "label_f1_macro"),
    refuses=unlabelled,
)
