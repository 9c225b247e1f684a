"""Questions about an image (or none): closed ones are answered by yes or no, open ones by a short text."""

from __future__ import annotations

from groundrl.experiments.tasks.task import Fields, Gold, Task
from groundrl.rewards import Reference
from groundrl.rewards.library.labels import normalised

YES_NO = ("yes", "no")


def not_yes_or_no(fields: Fields) -> str | None:
    """Closed is only what is answered by yes or no; data sets that call more than that closed are not followed."""
    return None if normalised(fields.answer or "") in YES_NO else f"its answer is {fields.answer!r}, not yes or no"


def closed_gold(fields: Fields) -> Gold:
    """`yes` or `no`."""
    answer = normalised(fields.answer or "")
    return Gold(answer=answer, reference=Reference(label=answer))


def open_gold(fields: Fields) -> Gold:
    """The text; other texts that are right stand in the column `references`."""
    columns = {"references": fields.references} if fields.references else {}
    return Gold(answer=fields.answer, reference=Reference(label=fields.answer, columns=columns))


CLOSED_VQA = Task(
    name="closed_vqa",
    templates={
        "yes_no": "{question}\nAnswer with yes or no.",
        "question": "{question}",
    },
    needs=("question", "answer"),
    gold=closed_gold,
    reward="LabelAccuracy(mode='yes_no')",
    metrics=("closed_accuracy", "unparsed", "medevalkit", "medevalkit_closed"),
    refuses=not_yes_or_no,
)
OPEN_VQA = Task(
    name="open_vqa",
    templates={
        "concise": "{question}\nAnswer concisely.",
        "question": "{question}",
    },
    needs=("question", "answer"),
    gold=open_gold,
    reward="LabelAccuracy()",
    metrics=("exact_match", "token_f1", "rouge_l", "judge", "medevalkit"),
)
