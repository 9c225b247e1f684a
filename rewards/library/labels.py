"""Rewards for what an answer says in words. The label of an answer is its text without the boxes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward, unreadable

Synonyms = Mapping[str, tuple[str, ...]]

_EDGES = " \t\n.,;:!?\"'`*"
_NUMBER = re.compile(r"(?<![0-9A-Za-z_.])-?+[0-9]++(?:\.[0-9]++)?+(?![0-9A-Za-z_]|\.[0-9])")
_LETTER = re.compile(r"\(?+([a-z])(?:\)|\.|:|(?=\s)|\Z)[).:]*+\s*+")
_LEADS = ("the correct answer is", "the answer is", "correct answer", "answer", "option", "choice")


@lru_cache(maxsize=256)  # a label is said by many completions
def normalised(text: str) -> str:
    """Casefolded, runs of white space made one space, punctuation at both ends removed."""
    return " ".join(text.casefold().split()).strip(_EDGES)


def canonical(text: str, synonyms: Synonyms) -> str:
    """The normalised text, or the word for which it is a synonym."""
    text = normalised(text)
    for word, others in synonyms.items():
        if any(normalised(other) == text for other in others):
            return normalised(word)
    return text


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelAccuracy(Reward):
    """Whether the answer's label is the reference's, in [0, 1].

    `mode`: `exact` (against `reference.label`, by `normalised`); `multi_label` (F1 of the sets, against
    `reference.labels`; the answer separates them by comma, semicolon, line or "and"); `choice` (a letter, an option's
    text, or both, out of `reference.choices`); `yes_no` (exactly one of the *words* yes and no); `number` (the only
    number in the label, within `tolerance` of the true one). `synonyms` maps a word to others that mean the same.
    An answer that cannot be read as a whole (boxes included, where the reference has them) scores 0.
    """

    name = "label_accuracy"
    mode: str = "exact"
    tolerance: float = 0.0
    synonyms: Synonyms = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ValueError(f"LabelAccuracy has no mode {self.mode!r}; its modes: {', '.join(_MODES)}")
        if not self.tolerance >= 0:
            raise ValueError(f"a tolerance is at least 0, got {self.tolerance}")

    def score(self, completion: Completion, example: Example) -> Score:
        """The accuracy; abstains where the reference has no label, or `choice` no choices."""
        reference = example.reference
        truth: object = reference.labels if self.mode == "multi_label" else reference.label
        if truth is None or (self.mode == "choice" and reference.choices is None):
            lacking = "label" if truth is None else "choices"
            return Score(value=None, status="abstain", detail={"reason": f"the reference has no {lacking}"})
        if (reason := unreadable(completion, example)) is not None:
            return Score(value=0.0, detail={"reason": reason})
        label = completion.label or ""
        return Score(value=_MODES[self.mode](self, label, example), detail={"label": label})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Mentions(Reward):
    """1 where the answer contains, as whole words, what the reference's column of that name holds; else 0."""

    name = "mentions"
    column: str

    def score(self, completion: Completion, example: Example) -> Score:
        """0 or 1; abstains where the reference has no such column."""
        if self.column not in example.reference.columns:
            return Score(value=None, status="abstain", detail={"reason": f"the reference has no {self.column!r}"})
        said, wanted = (
            " ".join(re.findall(r"\w++", text.casefold()))
            for text in (completion.answer or "", str(example.reference[self.column]))
        )
        return Score(value=float(bool(wanted) and f" {wanted} " in f" {said} "))


def _exact(reward: LabelAccuracy, label: str, example: Example) -> float:
    truth = example.reference.label or ""
    return float(canonical(label, reward.synonyms) == canonical(truth, reward.synonyms))


def _multi_label(reward: LabelAccuracy, label: str, example: Example) -> float:
    said = label_set(label, reward.synonyms)
    true = {canonical(each, reward.synonyms) for each in example.reference.labels or ()}
    return 2 * len(said & true) / (len(said) + len(true)) if said or true else 1.0


def label_set(text: str, synonyms: Synonyms) -> set[str]:
    """The labels that a text lists, separated by comma, semicolon, line or "and"."""
    return {canonical(each, synonyms) for each in re.split(r"[,;\n]|\band\b", text)} - {""}


def _choice(reward: LabelAccuracy, label: str, example: Example) -> float:
    choices = tuple(canonical(choice, reward.synonyms) for choice in example.reference.choices or ())
    truth = chosen(example.reference.label or "", choices, reward.synonyms)
    if truth is None:
        known = f"label {example.reference.label!r} is none of the choices {example.reference.choices}"
        raise ValueError(f"example {example.id!r}: the reference's {known}, by letter or by text")
    return float(chosen(label, choices, reward.synonyms) == truth)


def chosen(label: str, choices: tuple[str, ...], synonyms: Synonyms) -> int | None:
    """The index of the option that a label names by text, by letter, or by both agreeing; None for anything else."""
    label = canonical(label, synonyms)
    lead = next((lead for lead in _LEADS if label.startswith((lead + " ", lead + ":"))), "")
    label = canonical(label[len(lead) :].removeprefix(":"), synonyms)
    if label in choices:
        return choices.index(label)
    match = _LETTER.match(label)
    if match is None:
        return None
    index, rest = ord(match[1]) - ord("a"), canonical(label[match.end() :], synonyms)
    return index if index < len(choices) and rest in ("", choices[index]) else None


def _yes_no(reward: LabelAccuracy, label: str, example: Example) -> float:
    said, true = (
        {canonical(word, reward.synonyms) for word in re.findall(r"\w++", text)} & {"yes", "no"}
        for text in (label, example.reference.label or "")
    )
    if len(true) != 1:
        raise ValueError(f"example {example.id!r}: the reference's label {example.reference.label!r} is not yes or no")
    return float(said == true)


def _number(reward: LabelAccuracy, label: str, example: Example) -> float:
    truth = _NUMBER.findall(example.reference.label or "")
    if len(truth) != 1:
        raise ValueError(f"example {example.id!r}: the reference's label {example.reference.label!r} is not one number")
    said = _NUMBER.findall(label)
    return float(len(said) == 1 and abs(float(said[0]) - float(truth[0])) <= reward.tolerance)


_MODES: dict[str, Callable[[LabelAccuracy, str, Example], float]] = {
    "exact": _exact,
    "multi_label": _multi_label,
    "choice": _choice,
    "yes_no": _yes_no,
    "number": _number,
}
