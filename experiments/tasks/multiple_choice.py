"""Multiple choice, with an image or without: the gold answer is the letter."""

from __future__ import annotations

from groundrl.experiments.tasks.task import Fields, Gold, Task, letter
from groundrl.rewards import Reference


def gold(fields: Fields) -> Gold:
    """The right letter. ValueError where it is not known, or is none of the choices."""
    choices = fields.choices or ()
    if fields.correct is None or not 0 <= fields.correct < len(choices):
        raise ValueError(f"the right choice is none of the {len(choices)}; remove the example")
    answer = letter(fields.correct)
    return Gold(answer=answer, reference=Reference(label=answer, choices=choices))


MULTIPLE_CHOICE = Task(
    name="multiple_choice",
    templates={
        "letter": "{question}\n{options}\nAnswer with the option's letter from the given choices directly.",
        "think": "{question}\n{options}\nThink first, then write the option's letter inside <answer></answer>.",
    },
    needs=("question", "choices"),
    gold=gold,
    reward="LabelAccuracy(mode='choice')",
    metrics=("choice_accuracy", "unparsed", "medevalkit"),
)
