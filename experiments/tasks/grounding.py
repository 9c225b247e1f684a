"""Grounding: all objects of a kind with their boxes, or the one that is described; negatives have none.

The prompts and the form of the answer, `Fractures <box>[[156, 516, 231, 607], [240, 529, 296, 581]]</box>`, are those
of MedMO's model card.
"""

from __future__ import annotations

from groundrl.experiments.tasks.task import Fields, Gold, Task
from groundrl.rewards import Boxes, Completion, Reference, box_format

WRITTEN = box_format("medmo")  # `model.boxes` makes gold answers and prompts follow another
REWARD = "0.6*SoftF1() + 0.3*LabelAccuracy() + 0.1*Format()"
METRICS = ("iou_of_true_boxes", "soft_f1", "f1_50", "acc_30", "acc_50", "acc_70", "ave_iou")


def gold(fields: Fields) -> Gold:
    """The answer that the data state, else the boxes under their labels; its label is read as a model's is."""
    assert fields.boxes is not None
    answer = fields.answer if fields.answer is not None else grounding_text(fields.boxes, target=fields.target)
    labels = fields.labels if fields.labels is not None else distinct(fields.boxes.labels)
    return Gold(
        answer=answer, reference=Reference(label=Completion(text=answer).label, labels=labels, boxes=fields.boxes)
    )


def referred(fields: Fields) -> Gold:
    """The description and its boxes."""
    assert fields.boxes is not None
    answer = fields.answer if fields.answer is not None else f"{fields.question} {WRITTEN.gold(fields.boxes)}"
    return Gold(answer=answer, reference=Reference(label=Completion(text=answer).label, boxes=fields.boxes))


def grounding_text(boxes: Boxes, *, target: str) -> str:
    """Each label with its boxes, in the order in which labels first appear; `No cells <box>[]</box>` without any."""
    if not len(boxes):
        return f"No {target} {WRITTEN.gold(boxes)}"
    names = boxes.labels or (target,) * len(boxes)
    groups = {name: [index for index, own in enumerate(names) if own == name] for name in dict.fromkeys(names)}
    return ", ".join(
        f"{name} {WRITTEN.gold(Boxes(xyxy=boxes.xyxy[indices], space=boxes.space))}" for name, indices in groups.items()
    )


def distinct(labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Each label once, in the order of the boxes."""
    return None if labels is None else tuple(dict.fromkeys(labels))


GROUNDING = Task(
    name="grounding",
    templates={
        "medmo": "Detect and localize all {target} in this image.",
        "the_image": "Detect and localize all {target} in the image.",
        "asked": "Detect and localize all {target} in this image. Write boxes as {boxes}.",
    },
    needs=("images", "boxes"),
    gold=gold,
    reward=REWARD,
    metrics=METRICS,
)
REFERRING = Task(
    name="referring",
    templates={
        "locate": "Locate {question} in this image.",
        "asked": "Locate {question} in this image. Write boxes as {boxes}.",
    },
    needs=("images", "question", "boxes"),
    gold=referred,
    reward=REWARD,
    metrics=METRICS,
)
