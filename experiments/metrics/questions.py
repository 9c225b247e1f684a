"""Questions with a fixed set of answers. No nearest string, no guess: what cannot be read is wrong, and counted."""

from __future__ import annotations

import re

from groundrl.experiments.metrics.metric import mean_of, said
from groundrl.rewards import Completion, Example, LabelAccuracy
from groundrl.rewards.library.labels import canonical, chosen, normalised

YES_NO = {"yes", "no"}


def is_yes_no(label: str) -> bool:
    """Whether a right answer is the word yes or the word no, and nothing else."""
    return normalised(label) in YES_NO


def option(completion: Completion, example: Example) -> int | None:
    """The option that is named, by letter, by its exact text, or by both agreeing; None where none is."""
    return chosen(said(completion), tuple(canonical(each, {}) for each in example.reference.choices or ()), {})


def unknown_choice(example: Example) -> str | None:
    """What is wrong where the reference has choices, and a label that names none of them by letter or by text."""
    label, choices = example.reference.label, example.reference.choices
    if label is None or not choices or chosen(label, tuple(canonical(each, {}) for each in choices), {}) is not None:
        return None
    return f"its label {label!r} is none of its choices {choices}, by letter or by text"


def _choice(completion: Completion, example: Example) -> float | None:
    if not example.reference.choices or unknown_choice(example) is not None:
        return None
    return LabelAccuracy(mode="choice").score(completion, example).value


def _closed(completion: Completion, example: Example) -> float | None:
    label = example.reference.label
    if label is None or example.reference.choices:
        return None
    return LabelAccuracy(mode="yes_no" if is_yes_no(label) else "exact").score(completion, example).value


def _unparsed(completion: Completion, example: Example) -> float | None:
    if example.reference.choices:
        return float(option(completion, example) is None)
    if example.reference.label is None:
        return None
    if is_yes_no(example.reference.label):
        return float(len(YES_NO & set(re.findall(r"\w++", said(completion).casefold()))) != 1)
    return float(not said(completion))


QUESTIONS = {
    "choice_accuracy": mean_of(
        _choice,
        "the right option is named by its letter, its exact text, or both agreeing; anything else is wrong",
        reads=("choices",),
        unfit=unknown_choice,
    ),
    "closed_accuracy": mean_of(
        _closed,
        "yes or no as words, exactly one of them in the answer; a closed question with another answer by exact match",
        reads=("label",),
    ),
    "unparsed": mean_of(
        _unparsed,
        "share of answers in which no option, or not exactly one of yes and no, is named",
        reads=("choices", "label"),
    ),
}
