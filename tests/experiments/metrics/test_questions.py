"""Choice and closed questions, the kit's rule beside ours, and labels in sets: all by hand."""

import pytest

from groundrl.experiments.metrics.medevalkit import final_part

CHOICES = ("Aspirin", "Heparin", "No treatment", "Watchful waiting")


@pytest.mark.parametrize(
    ("said", "right", "unparsed", "kit"),
    [
        ("B", 1, 0, 1),
        ("b.", 1, 0, 1),
        ("(B)", 1, 0, 0),  # the kit finds no letter, and "(b)" is most like none: the first option
        ("Heparin", 1, 0, 1),
        ("B. Heparin", 1, 0, 1),
        ("The answer is B", 1, 0, 1),
        ("<think>Aspirin? No.</think>B", 1, 0, 0),  # the kit grades the thought too, up to its first full stop
        ("<answer>B</answer>", 1, 0, 1),
        ("A", 0, 0, 0),
        ("B. Aspirin", 0, 1, 1),
        ("heparine", 0, 1, 1),  # the most similar string
        ("I do not know, it depends", 0, 1, 0),
        ("A or B", 0, 1, 0),
        ("", 0, 1, 0),
    ],
)
def test_choice_by_hand(answer, measure, said, right, unparsed, kit):
    one = [answer(said, label="B", choices=CHOICES)]
    assert (measure("choice_accuracy", one), measure("unparsed", one)) == (right, unparsed)
    assert measure("medevalkit", one) == kit
    assert measure("closed_accuracy", one) != measure("closed_accuracy", one), "no closed question"


@pytest.mark.parametrize(
    ("said", "label", "kit"),
    [
        ("B\n\nAspirin would not do.", "B", 1.0),  # a first paragraph that is a letter
        ("Aspirin would not do.\n\nB. It thins the blood", "B", 1.0),  # a last one that begins with one
        ("Aspirin", "B", 0.0),  # another option's text, whether the label is a letter or a text
        ("Aspirin", "Heparin", 0.0),
        ("Heparin", "Heparin", 1.0),
    ],
)
def test_where_the_kit_looks_for_the_option(answer, measure, said, label, kit):
    assert measure("medevalkit", [answer(said, label=label, choices=CHOICES)]) == kit


def test_the_kit_takes_the_first_option_where_nothing_is_alike(answer, measure):
    assert measure("medevalkit", [answer("", label="A", choices=CHOICES)]) == 1.0


@pytest.mark.parametrize(
    ("said", "label", "right", "unparsed", "kit"),
    [
        ("Yes", "yes", 1, 0, 1),
        ("Yes, the scan is abnormal", "yes", 1, 0, 0),  # "abnormal" holds "no": the kit's fault
        ("No.", "yes", 0, 0, 0),
        ("There are nodules", "no", 0, 1, 1),  # "nodules" holds "no" and no "yes": the kit's fault
        ("yes and no", "yes", 0, 1, 0),
        ("Eyes", "yes", 0, 1, 1),
        ("Left lung", "left lung", 1, 0, 1),
        ("the left lung", "left lung", 0, 0, 0),
        ("", "left lung", 0, 1, 0),
    ],
)
def test_closed_by_hand(answer, measure, said, label, right, unparsed, kit):
    one = [answer(said, label=label)]
    assert (measure("closed_accuracy", one), measure("unparsed", one)) == (right, unparsed)
    assert measure("medevalkit", one) == kit


def test_unparsed_answers_stay_in_the_accuracy(answer, measure):
    several = [answer(said, label="yes") for said in ("yes", "perhaps", "no", "yes")]
    assert measure("closed_accuracy", several) == 0.5
    assert measure("unparsed", several) == 0.25


@pytest.mark.parametrize(
    ("response", "final"),
    [
        (r"So \boxed{B {x}} is it", "b {x}"),
        ("boxed, but nothing in braces", "none"),
        ("<answer>A</answer> or <answer>B</answer>", "a b"),
        ("The answer is A. **Answer**: C", " c"),
    ],
)
def test_what_the_kit_grades(response, final):
    assert final_part(response) == final


def test_sets_of_labels_by_hand(answer, measure):
    # hits 1 + 1 + 0 = 2, said 2 + 1 + 1 = 4, true 1 + 2 + 0 = 3
    several = [
        answer("Edema, Mass", labels=("edema",)),
        answer("mass", labels=("Mass", "Edema")),
        answer("fracture", labels=()),
    ]
    assert measure("label_precision", several) == 2 / 4
    assert measure("label_recall", several) == 2 / 3
    assert measure("label_f1", several) == pytest.approx(4 / 7)
    # edema: hit 1, said 1, true 2, F1 2/3; mass: hit 1, said 2, true 1, F1 2/3; fracture is no true label anywhere
    assert measure("label_f1_macro", several) == pytest.approx(2 / 3)
    assert measure("label_f1", [answer("Edema and mass; fracture", labels=("fracture", "mass", "edema"))]) == 1.0
