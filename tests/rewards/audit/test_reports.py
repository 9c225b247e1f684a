"""Policies for reports: the transformations, and what they find in a metric of words."""

import pytest

from groundrl.rewards import audit, reward
from groundrl.rewards.audit.reports import NORMALS, hedged, negated, sentences, swapped_sides, without_sides

REPORT = "Left effusion. No fracture of the right rib; the heart is large."


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            negated,
            "No evidence of left effusion. Fracture of the right rib; No evidence of the heart is large.",
        ),
        (hedged, "Possible left effusion. Possible fracture of the right rib; Possible the heart is large."),
        (swapped_sides, "Right effusion. No fracture of the left rib; the heart is large."),
        (without_sides, "effusion. No fracture of the rib; the heart is large."),
    ],
)
def test_a_transformation(change, expected):
    assert change(REPORT) == expected


def test_sides_swapped_twice_are_the_same():
    assert swapped_sides(swapped_sides(REPORT)) == REPORT


def test_there_are_fifty_normals_and_all_differ():
    assert len({sentence.strip() for sentence in sentences(NORMALS)}) == 50


def facts(text):
    """`(finding, side, present)` of sentences as the fixture writes them."""
    found = set()
    for sentence in sentences(text):
        words = sentence.lower().strip(" .").split()
        side = next((word for word in words if word in ("left", "right")), "")
        present = {"no": "absent", "possible": "uncertain"}.get(words[0], "present")
        found |= {
            (word, side, present)
            for word in ("effusion", "nodule", "fracture", "opacity", "pneumothorax")
            if word in words
        }
    return found


@reward
def fact_f1(completion, example):
    said, true = facts(completion.answer or ""), facts(example.reference.report)
    return 2 * len(said & true) / (len(said) + len(true)) if said else 0.0


@reward
def word_recall(completion, example):
    said, true = (set(text.lower().split()) for text in (completion.text, example.reference.report))
    return len(said & true) / len(true)


def test_a_metric_of_facts_passes(reports):
    report = audit(fact_f1, reports)
    assert report.passed, str(report)
    shares = {own.name: own.scale for own in report.policies}
    # two of three facts have a side: without it 1 of 3 is right; hedged, only the absent one could be, but it is not
    assert shares["laterality dropped"] == pytest.approx(1 / 3)
    assert shares["laterality swapped"] == pytest.approx(1 / 3)
    assert shares["everything hedged"] == 0.0
    assert [rung.noise for rung in report.ladder] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_recall_of_words_is_flagged(reports):
    report = audit(word_recall, reports)
    flagged = {own.name for own in report.flagged}
    assert {"reference negated", "gold inside <think> only", "laterality swapped", "everything hedged"} & flagged
    assert "reference negated" in flagged
    shown = next(own for own in report.flagged if own.name == "reference negated").offences[0]
    assert shown.text.startswith("No evidence of")
